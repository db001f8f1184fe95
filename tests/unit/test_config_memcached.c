/* SPDX-License-Identifier: ISC */
/* kaproxy.ini: what memcached listeners may have: defaults, values, keys without an effect,
 * mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/ini_text.h"

static void test_defaults(void **state)
{
    struct config *config = ini_load(MEMCACHED_LISTENER);
    const struct config_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->upstream.port, 11211);
    assert_int_equal(listener->reuse, REUSE_FRAMED);
    assert_int_equal(listener->idle_timeout, 300 * USEC_PER_SEC);
    assert_int_equal(listener->response_timeout, 300 * USEC_PER_SEC);
    config_unref(config);
}

static void test_values(void **state)
{
    struct config *config =
        ini_load(MEMCACHED_LISTENER "reuse=never\nresponse_timeout=0\nidle_timeout=7\n");
    const struct config_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->reuse, REUSE_NEVER);
    assert_int_equal(listener->response_timeout, 0);
    assert_int_equal(listener->idle_timeout, 7 * USEC_PER_SEC);
    config_unref(config);
}

static void test_print(void **state)
{
    static const char expected[] =
        "\n[listener a]\nlisten = 127.0.0.1:80\nupstream = memcached://x:11211\npool =\n"
        "timeout = 120\nreuse = framed\nidle_timeout = 7\nresponse_timeout = 7\n";
    struct config *config = ini_load(MEMCACHED_LISTENER "idle_timeout=7\n");
    char *text = ini_print(config);
    const char *listener = strstr(text, "\n[listener");

    (void)state;
    assert_non_null(listener);
    assert_string_equal(listener, expected);
    free(text);
    config_unref(config);
}

static void test_keys_without_effect(void **state)
{
    (void)state;
    assert_mistakes(MEMCACHED_LISTENER "affinity_timeout=60\nstateless_commands=\n"
                                       "header_timeout=30\nhost=upstream\ntls_verify=yes\n",
                    "4: affinity_timeout: has no effect on scheme memcached\n"
                    "5: stateless_commands: has no effect on scheme memcached\n"
                    "6: header_timeout: has no effect on scheme memcached\n"
                    "7: host: has no effect on scheme memcached\n"
                    "8: tls_verify: has no effect on scheme memcached\n");
    assert_mistakes("[listener a]\nlisten=127.0.0.1:80\nupstream=memcacheds://x\n"
                    "affinity_timeout=60\ntls_min_version=1.1\n",
                    "4: affinity_timeout: has no effect on scheme memcacheds\n"
                    "5: tls_min_version: \"1.1\" is not one of 1.2 or 1.3\n");
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_mistake(
        MEMCACHED_LISTENER "reuse=quiet\n", 4,
        "reuse: quiet is for opaque schemes, but scheme memcached has message boundaries: "
        "use framed or never");
    assert_mistake(MEMCACHED_LISTENER "response_timeout = never\n", 4,
                   "response_timeout: \"never\" is not a time");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=memcached+x://x\n", 3,
                   "unknown scheme");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=memcached://x/0\n", 3,
                   "a path is not allowed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_values),
        cmocka_unit_test(test_print),    cmocka_unit_test(test_keys_without_effect),
        cmocka_unit_test(test_mistakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
