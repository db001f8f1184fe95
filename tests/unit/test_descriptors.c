/* SPDX-License-Identifier: ISC */
/* Goal of this test: descriptors are counted as the most that a configuration can use; clients get
 * what is left, and pipes what clients leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "config/descriptors.h"
#include "net/pipes.h"
#include "support/ini_text.h"

#define OWN 33 /* with one listening socket */

static struct descriptors needed_by(const char *text)
{
    struct config *config = ini_load(text);
    struct descriptors needed = descriptors_needed(config);
    config_unref(config);
    return needed;
}

static void assert_needed(const char *text, unsigned connections, unsigned attempts, unsigned own)
{
    struct descriptors needed = needed_by(text);
    assert_int_equal(needed.connections, connections);
    assert_int_equal(needed.attempts, attempts);
    assert_int_equal(needed.own, own);
}

static void assert_held(const char *text, unsigned connections, unsigned held)
{
    struct descriptors needed = needed_by(text);
    assert_int_equal(needed.connections, connections);
    assert_int_equal(needed.held, held);
}

#define NUMERIC(name, address, rest)                                                               \
    "[listener " name "]\nlisten=" address "\nupstream=tcp://127.0.0.1:1\nreuse=quiet\n" rest
#define HTTP(name, address, rest)                                                                  \
    "[listener " name "]\nlisten=" address "\nupstream=http://127.0.0.1\n" rest

static void test_one_host(void **state)
{
    (void)state;
    assert_needed(NUMERIC("a", "[::1]:1", ""), 4, 0, OWN);
    assert_needed("[pool]\nmax_open=3\n" NUMERIC("a", "[::1]:1", ""), 3, 0, OWN);
    assert_needed("[pool]\nmax_per_host=9\n" NUMERIC("a", "[::1]:1", ""), 9, 0, OWN);
}

/* Those that clients hold are added, where there can be any. */
static void test_tunnels(void **state)
{
    (void)state;
    assert_held(HTTP("a", "[::1]:1", ""), 4, 64);
    assert_held("[pool]\nmax_tunnels=10\n" HTTP("a", "[::1]:1", ""), 4, 10);
    assert_held("[pool]\nmax_tunnels=0\n" HTTP("a", "[::1]:1", ""), 4, 0);
    assert_held("[pool]\nmax_open=20\n" HTTP("a", "[::1]:1", ""), 4, 16);
    assert_held("[pool]\nmax_open=3\n" HTTP("a", "[::1]:1", ""), 3, 0);
    assert_held("[pool]\nmax_tunnels=10\n" HTTP("a", "[::1]:1", "") NUMERIC("b", "[::1]:2", "")
                    HTTP("c", "[::1]:3", ""),
                3 * 4, 2 * 10);
    assert_held("[listener a]\nlisten=[::1]:1\nupstream=https://localhost\n", 4, 64);
    assert_held("[listener a]\nlisten=[::1]:1\nupstream=redis://localhost\n", 4, 64);
    assert_held("[listener a]\nlisten=[::1]:1\nupstream=memcacheds://localhost\n", 4, 64);
    assert_held(NUMERIC("a", "[::1]:1", ""), 4, 0);
}

/* A held connection needs a client that holds it. */
static void test_clients_with_tunnels(void **state)
{
    (void)state;
    struct config *config =
        ini_load("[kaproxy]\nmax_clients=100\n[pool]\nmax_tunnels=10\n" HTTP("a", "[::1]:1", ""));
    struct descriptors needed = descriptors_needed(config);
    uint64_t others = 4 + OWN;
    static const unsigned clients[][2] = {/* what is left, and how many clients fit */
                                          {0, 0},   {1, 0},    {2, 1},     {19, 9},   {20, 10},
                                          {21, 11}, {109, 99}, {110, 100}, {200, 100}};
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        unsigned fit = descriptors_clients(config, &needed, others + clients[i][0]);
        assert_int_equal(fit, clients[i][1]);
        assert_true(descriptors_connections(&needed, fit) + OWN + fit <= others + clients[i][0]);
    }
    assert_int_equal(descriptors_connections(&needed, 3), 4 + 3);
    assert_int_equal(descriptors_connections(&needed, 30), 4 + 10);
    assert_int_equal(descriptors_pipes(config, &needed, others + 10 + 100 + 2), 1);
    assert_int_equal(descriptors_pipes(config, &needed, others + 10 + 100 + 1), 0);
    config_unref(config);
}

static void test_names_have_several_addresses(void **state)
{
    (void)state;
    assert_needed(LISTENER, 4, 4, OWN);
    assert_needed("[pool]\nmax_connecting=3\n" LISTENER, 4, 3, OWN);
    assert_needed("[pool]\nmax_connecting=5\n" LISTENER, 4, 4, OWN);
    assert_needed("[pool]\nmax_open=2\n" LISTENER, 2, 2, OWN);
}

static void test_several_pools(void **state)
{
    (void)state;
    assert_needed("[pool]\nmax_per_host=10\nmax_open=15\n"
                  "[pool b]\nmax_per_host=7\n[pool unused]\nmax_per_host=100\n" /* three hosts */
                  NUMERIC("a", "127.0.0.1:1 127.0.0.1:2", "") NUMERIC("b", "unix:/b", "")
                      NUMERIC("c", "[::1]:1", "pool=b\n"),
                  15 + 7, 0, OWN + 3);
}

/* The connections they may have, and their listening sockets. */
static void test_admin(void **state)
{
    (void)state;
    assert_needed("[admin]\nlisten=off\n" LISTENER, 4, 4, OWN);
    assert_needed("[admin]\nlisten=unix:/x [::1]:1\n" LISTENER, 4, 4, OWN + 2 + 65);
}

static void test_clients(void **state)
{
    (void)state;
    struct config *config = ini_load("[kaproxy]\nmax_clients=100\n" LISTENER);
    struct descriptors needed = descriptors_needed(config);
    uint64_t reserved = 4 + 4 + OWN;
    assert_int_equal(descriptors_clients(config, &needed, UINT64_MAX), 100);
    assert_int_equal(descriptors_clients(config, &needed, reserved + 100), 100);
    assert_int_equal(descriptors_clients(config, &needed, reserved + 99), 99);
    assert_int_equal(descriptors_clients(config, &needed, reserved + 1), 1);
    assert_int_equal(descriptors_clients(config, &needed, reserved), 0);
    assert_int_equal(descriptors_clients(config, &needed, 0), 0);
    config_unref(config);
}

static void test_pipes(void **state)
{
    (void)state;
    struct config *config = ini_load("[kaproxy]\nmax_clients=100\n" LISTENER);
    struct descriptors needed = descriptors_needed(config);
    uint64_t others = 4 + 4 + OWN + 100;
    assert_int_equal(descriptors_pipes(config, &needed, UINT64_MAX), PIPES_MAX);
    assert_int_equal(descriptors_pipes(config, &needed, others + 2 * PIPES_MAX), PIPES_MAX);
    assert_int_equal(descriptors_pipes(config, &needed, others + 2 * PIPES_MAX - 1), PIPES_MAX - 1);
    assert_int_equal(descriptors_pipes(config, &needed, others + 2), 1);
    assert_int_equal(descriptors_pipes(config, &needed, others + 1), 0);
    assert_int_equal(descriptors_pipes(config, &needed, others - 50), 0);
    assert_int_equal(descriptors_pipes(config, &needed, 0), 0);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_host),      cmocka_unit_test(test_names_have_several_addresses),
        cmocka_unit_test(test_several_pools), cmocka_unit_test(test_admin),
        cmocka_unit_test(test_clients),       cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_tunnels),       cmocka_unit_test(test_clients_with_tunnels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
