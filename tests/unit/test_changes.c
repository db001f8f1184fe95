/* SPDX-License-Identifier: ISC */
/* What another configuration changes, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/changes.h"
#include "support/ini_text.h"

#define OTHER       "[listener b]\nlisten=127.0.0.1:81\nupstream=http://y\n"
#define POOL_A      "[pool a]\nmax_per_host=7\n"
#define TLS_DOUBLES HTTPS_LISTENER "[listener b]\nlisten=127.0.0.1:81\nupstream=https://x\n"

static void assert_changes(const char *before, const char *after, const char *expected)
{
    char text[CHANGES_TEXT_MAX];
    struct config *old = ini_load(before), *new = ini_load(after);
    assert_string_equal(changes_describe(old, new, text, sizeof(text)), expected);
    config_unref(old);
    config_unref(new);
}

static void test_nothing(void **state)
{
    (void)state;
    assert_changes(LISTENER, LISTENER, "nothing changed");
    assert_changes(LISTENER POOL_A, POOL_A LISTENER "timeout=120\n[admin]\n[kaproxy]\n",
                   "nothing changed");
}

static void test_keys_of_the_process(void **state)
{
    (void)state;
    assert_changes(
        LISTENER, LISTENER "[kaproxy]\nlog_level=debug\nresolver=127.0.0.1\n[admin]\ncontrol=all\n",
        "log_level notice -> debug, resolver \"\" -> 127.0.0.1; "
        "[admin] control unix -> all");
    assert_changes(LISTENER "[admin]\nlisten=127.0.0.1:82\n", LISTENER "[admin]\nlisten=off\n",
                   "[admin] listen 127.0.0.1:82 -> off");
}

static void test_pools(void **state)
{
    (void)state;
    assert_changes(LISTENER "[pool a]\n[pool b]\nkeep_alive=2\n[pool c]\n",
                   LISTENER
                   "[pool c]\n[pool d]\n[pool b]\nmax_age=3\nkeep_alive=1500ms\n[pool e]\n",
                   "pools: 2 added (d, e), 1 removed (a), "
                   "1 changed (b: keep_alive 2 -> 1500ms, max_age 0 -> 3), 2 kept");
    assert_changes(LISTENER, "[pool]\nmax_open=5\n" LISTENER,
                   "pools: 1 changed (default: max_open 128 -> 5)");
}

static void test_listeners(void **state)
{
    (void)state;
    assert_changes(HTTP_LISTENER OTHER,
                   HTTP_LISTENER "host=client\nidle_timeout=1m\nresponse_timeout=300\n"
                                 "[listener c]\nlisten=127.0.0.1:81\nupstream=http://y\n",
                   "listeners: 1 added (c), 1 removed (b), "
                   "1 changed (a: idle_timeout 300 -> 60, host upstream -> client)");
    assert_changes(HTTP_LISTENER OTHER, OTHER HTTP_LISTENER "reuse=never\n",
                   "listeners: 1 changed (a: reuse framed -> never), 1 kept");
}

/* A listener's timeout is its pool's, unless it has its own. */
static void test_values_are_those_in_effect(void **state)
{
    (void)state;
    assert_changes(LISTENER, LISTENER "[pool]\ntimeout=9\n",
                   "pools: 1 changed (default: timeout 120 -> 9); "
                   "listeners: 1 changed (a: timeout 120 -> 9)");
    assert_changes(LISTENER, LISTENER "timeout=9\n[pool]\ntimeout=9\n",
                   "pools: 1 changed (default: timeout 120 -> 9); "
                   "listeners: 1 changed (a: timeout 120 -> 9)");
}

/* As response_timeout, which follows idle_timeout, of bytes without boundaries. */
static void test_keys_without_effect_are_left_out(void **state)
{
    (void)state;
    assert_changes(LISTENER, LISTENER "idle_timeout=9\n",
                   "listeners: 1 changed (a: idle_timeout 300 -> 9)");
}

static void test_long_values_are_left_out(void **state)
{
    (void)state;
    assert_changes(REDIS_LISTENER,
                   REDIS_LISTENER "stateless_commands=ft.search ft.aggregate ft.explain ft.info "
                                  "json.get\n",
                   "listeners: 1 changed (a: stateless_commands)");
}

static void test_files(void **state)
{
    char text[CHANGES_TEXT_MAX];
    (void)state;
    struct config *old = ini_load(TLS_DOUBLES), *new = ini_load(TLS_DOUBLES);
    struct config *keys = ini_load(TLS_DOUBLES "tls_min_version=1.3\n");
    assert_string_equal(changes_describe(old, new, text, sizeof(text)), "nothing changed");
    for (size_t i = 0; i < 2; i++)
        new->listeners[i].upstream.tls_digest[0]++;
    assert_string_equal(changes_describe(old, new, text, sizeof(text)),
                        "TLS files of https://x:443 changed");
    new->listeners[1].upstream.tls_digest[0]++;
    assert_string_equal(changes_describe(old, new, text, sizeof(text)),
                        "TLS files of https://x:443, https://x:443 changed");
    assert_string_equal(changes_describe(old, keys, text, sizeof(text)),
                        "listeners: 1 changed (b: tls_min_version 1.2 -> 1.3), 1 kept");
    config_unref(old);
    config_unref(new);
    config_unref(keys);
}

/* A file of many pools, each with this key. */
static struct config *load_pools(unsigned count, const char *key)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs(LISTENER, out);
    for (unsigned i = 0; i < count; i++)
        fprintf(out, "[pool p%u]\n%s\n", i, key);
    fclose(out);
    struct config *config = ini_load(text);
    free(text);
    return config;
}

static void test_long_lists_end_with_a_number(void **state)
{
    char text[CHANGES_TEXT_MAX];
    (void)state;
    struct config *few = load_pools(0, ""), *many = load_pools(20, "");
    struct config *others =
        load_pools(20, "max_per_host=1\nmax_open=1\nkeep_alive=1\ntimeout=1\nconnect_timeout=1\n"
                       "connect_retries=1\nmax_tunnels=1\nmax_uses=1\nmax_age=1");
    assert_string_equal(changes_describe(few, many, text, sizeof(text)),
                        "pools: 20 added (p0, p1, p2, p3, p4, p5, p6, p7 and 12 more), 1 kept");
    changes_describe(many, others, text, sizeof(text));
    assert_non_null(
        strstr(text, "pools: 20 changed (p0: max_per_host 4 -> 1, max_open 128 -> 1, "));
    assert_non_null(strstr(text, "connect_retries 0 -> 1 and 3 more; p1: "));
    assert_non_null(strstr(text, " more), 1 kept"));
    assert_string_equal(changes_describe(many, others, text, 40), "pools: 20 changed (20), 1 kept");
    assert_string_equal(changes_describe(many, others, text, 10), "pools: 20");
    config_unref(few);
    config_unref(many);
    config_unref(others);
}

static void assert_warnings(const char *before, const char *after, const char *expected)
{
    struct config *old = ini_load(before), *new = ini_load(after);
    char *said, line[300];
    size_t size;
    FILE *out = open_memstream(&said, &size);
    changes_warn(old, new, out);
    fclose(out);
    snprintf(line, sizeof(line), "%s%s", *expected != '\0' ? new->file : "", expected);
    assert_string_equal(said, line);
    free(said);
    config_unref(old);
    config_unref(new);
}

static void test_what_cannot_change(void **state)
{
    (void)state;
    assert_warnings(LISTENER, LISTENER "[kaproxy]\nlog_level=debug\n", "");
    assert_warnings(LISTENER "[kaproxy]\nuser=root\n", LISTENER "[kaproxy]\nuser=root\n", "");
    assert_warnings(LISTENER, LISTENER "[kaproxy]\nuser=root\n",
                    ": warning: user: cannot change while running; it stays unset until a "
                    "restart\n");
    assert_warnings(LISTENER "[kaproxy]\nuser=root\n", LISTENER,
                    ": warning: user: cannot change while running; it stays root until a "
                    "restart\n");
    assert_changes(LISTENER, LISTENER "[kaproxy]\nuser=root\n", "nothing changed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_keys_of_the_process),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_values_are_those_in_effect),
        cmocka_unit_test(test_keys_without_effect_are_left_out),
        cmocka_unit_test(test_long_values_are_left_out),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_long_lists_end_with_a_number),
        cmocka_unit_test(test_what_cannot_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
