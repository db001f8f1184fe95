/* SPDX-License-Identifier: ISC */
/* kaproxy.ini: what only redis listeners have: defaults, values, keys without an effect,
 * mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/ini_text.h"

static void test_defaults(void **state)
{
    struct config *config = ini_load(REDIS_LISTENER);
    const struct config_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->upstream.port, 6379);
    assert_int_equal(listener->reuse, REUSE_FRAMED);
    assert_int_equal(listener->idle_timeout, 300 * USEC_PER_SEC);
    assert_int_equal(listener->response_timeout, 300 * USEC_PER_SEC);
    assert_int_equal(listener->affinity_timeout, 60 * USEC_PER_SEC);
    assert_string_equal(listener->stateless_commands, "");
    config_unref(config);
}

static void test_values(void **state)
{
    struct config *config = ini_load(
        REDIS_LISTENER "reuse=never\nresponse_timeout=0\naffinity_timeout=500ms\n"
                       "stateless_commands = JSON.* FT.SEARCH,bf.add,\tx_1-2:3  *, ; a comment\n");
    const struct config_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->reuse, REUSE_NEVER);
    assert_int_equal(listener->response_timeout, 0);
    assert_int_equal(listener->affinity_timeout, 500 * USEC_PER_MSEC);
    assert_string_equal(listener->stateless_commands, "JSON.* FT.SEARCH,bf.add,\tx_1-2:3  *,");
    config_unref(config);
}

static void test_print(void **state)
{
    static const char expected[] =
        "\n[listener a]\nlisten = 127.0.0.1:80\nupstream = redis://x:6379\npool =\n"
        "timeout = 120\nreuse = framed\nidle_timeout = 7\nresponse_timeout = 7\n"
        "affinity_timeout = 60\nstateless_commands = JSON.* FT.SEARCH\n";
    struct config *config =
        ini_load(REDIS_LISTENER "stateless_commands=JSON.* FT.SEARCH\nidle_timeout=7\n");
    char *text = ini_print(config);
    const char *listener = strstr(text, "\n[listener");

    (void)state;
    assert_non_null(listener);
    assert_string_equal(listener, expected);
    free(text);
    config_unref(config);
}

/* Keys for http only, and for TLS only. */
static void test_keys_without_effect(void **state)
{
    (void)state;
    assert_mistakes(REDIS_LISTENER "header_timeout=30\nclient_keep_alive=60\n"
                                   "request_buffering=on\nabort_on_close=queued\nforwarded=off\n"
                                   "host=upstream\ntls_ca_file=\ntls_verify=yes\n"
                                   "tls_server_name=x\ntls_cert_file=\ntls_key_file=\n"
                                   "tls_min_version=1.2\ntls_close_notify=required\n",
                    "4: header_timeout: has no effect on scheme redis\n"
                    "5: client_keep_alive: has no effect on scheme redis\n"
                    "6: request_buffering: has no effect on scheme redis\n"
                    "7: abort_on_close: has no effect on scheme redis\n"
                    "8: forwarded: has no effect on scheme redis\n"
                    "9: host: has no effect on scheme redis\n"
                    "10: tls_ca_file: has no effect on scheme redis\n"
                    "11: tls_verify: has no effect on scheme redis\n"
                    "12: tls_server_name: has no effect on scheme redis\n"
                    "13: tls_cert_file: has no effect on scheme redis\n"
                    "14: tls_key_file: has no effect on scheme redis\n"
                    "15: tls_min_version: has no effect on scheme redis\n"
                    "16: tls_close_notify: has no effect on scheme redis\n");
    assert_mistakes(
        "[listener a]\nlisten=127.0.0.1:80\nupstream=rediss://x\nhost=client\n"
        "reuse=quiet\ntls_min_version=1.1\n",
        "4: host: has no effect on scheme rediss\n"
        "5: reuse: quiet is for opaque schemes, but scheme rediss has message boundaries: "
        "use framed or never\n"
        "6: tls_min_version: \"1.1\" is not one of 1.2 or 1.3\n");
}

static void test_mistakes(void **state)
{
    static const char *const bad[] = {"*A",    "A*B",    "A**",    "JSON.*, *.GET",
                                      "A|GET", "\"JSON", "A; B*c", "FT.SEARCH/"};
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), REDIS_LISTENER "stateless_commands = %s\n", bad[i]);
        assert_mistake(text, 4,
                       "\" is not the name of a command, or a prefix of names followed by *");
    }
    assert_mistake(
        REDIS_LISTENER "reuse=quiet\n", 4,
        "reuse: quiet is for opaque schemes, but scheme redis has message boundaries: use "
        "framed or never");
    assert_mistake(REDIS_LISTENER "response_timeout = never\n", 4,
                   "response_timeout: \"never\" is not a time");
    assert_mistake(REDIS_LISTENER "affinity_timeout =\n", 4,
                   "affinity_timeout: the value is missing");
    assert_mistake(REDIS_LISTENER "affinity_timeout = 9000h\n", 4,
                   "affinity_timeout: 9000h is out of range");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=redis+x://x\n", 3,
                   "unknown scheme");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=redis://x/0\n", 3,
                   "a path is not allowed");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=redis://user:secret@x\n", 3,
                   "upstream: \"redis://...@x\": a user name is not allowed, just "
                   "scheme://addr:port: clients log in themselves");
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
