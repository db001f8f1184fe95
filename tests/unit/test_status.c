/* SPDX-License-Identifier: ISC */
/* The JSON of /status: its members, as kaproxy(8) has them, and nothing left behind if memory is
 * short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/status.h"
#include "support/admin_world.h"

static struct admin_world *world;
static json_t *status;

static int set_up(void **state)
{
    (void)state;
    world = admin_world_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(status);
    status = NULL;
    admin_world_free(world);
    return 0;
}

static void make(void)
{
    json_decref(status);
    status = status_new(&world->input);
    assert_non_null(status);
}

/* A value by its path: "hosts.0.metrics.waiting". */
static const json_t *at(const char *path)
{
    const json_t *value = status;
    char name[64];
    for (const char *part = path; *part != '\0';) {
        size_t length = strcspn(part, ".");
        snprintf(name, sizeof(name), "%.*s", (int)length, part);
        value = json_is_array(value) ? json_array_get(value, strtoul(name, NULL, 10))
                                     : json_object_get(value, name);
        if (value == NULL)
            fail_msg("there is no %s", path);
        part += length;
        part += *part == '.';
    }
    return value;
}

static void assert_number(const char *path, double expected)
{
    if (json_number_value(at(path)) != expected || !json_is_number(at(path)))
        fail_msg("%s is %g, not %g", path, json_number_value(at(path)), expected);
}

static void assert_text(const char *path, const char *expected)
{
    assert_true(json_is_string(at(path)));
    assert_string_equal(json_string_value(at(path)), expected);
}

/* "name name ...", in their order. */
static void assert_members(const char *path, const char *expected)
{
    char names[1024] = "";
    const char *name;
    json_t *value, *object = json_copy((json_t *)(uintptr_t)at(path));
    json_object_foreach(object, name, value)
    {
        size_t length = strlen(names);
        snprintf(names + length, sizeof(names) - length, "%s%s", length > 0 ? " " : "", name);
    }
    json_decref(object);
    assert_string_equal(names, expected);
}

static void test_members(void **state)
{
    (void)state;
    world->input.show_sessions = true;
    make();
    assert_members("", "kaproxy loop problems process listeners hosts pools tls sessions"
                       " sessions_left_out");
    assert_members("kaproxy",
                   "version pid started now uptime state config config_read reload_failed");
    assert_members("loop", "lag answers snapshot_age");
    assert_members("listeners.0",
                   "name addresses upstream pool protocol state metrics peaks rates exchange"
                   " oldest_session longest_quiet");
    assert_members("hosts.0", "pool upstream state down down_since oldest_wait last_error"
                              " last_connected limits metrics peaks rates reuse wait connect");
    assert_members("pools.0", "name limits connections waiting");
    assert_members("hosts.0.limits", "max_per_host max_open max_connecting max_tunnels max_waiting"
                                     " min_idle max_uses fail_after connect_retries timeout"
                                     " connect_timeout keep_alive max_age");
    world->input.show_sessions = false;
    make();
    assert_members("", "kaproxy loop problems process listeners hosts pools tls");
}

/* When the configuration in effect was read, and the outcome of the last reload. */
static void test_reload(void **state)
{
    (void)state;
    make();
    assert_number("kaproxy.config_read", 1800000000);
    assert_true(json_is_null(at("kaproxy.reload_failed")));
    reload_stats_fail(&world->stats, "a.ini:1: bad\na.ini:2: worse", WORLD_START + USEC_PER_SEC);
    make();
    assert_number("kaproxy.config_read", 1800000000);
    assert_number("kaproxy.reload_failed.at", 1800000001);
    assert_text("kaproxy.reload_failed.text", "a.ini:1: bad");
    assert_number("kaproxy.reload_failed.mistakes", 2);
    reload_stats_succeed(&world->stats, 2, WORLD_START + 2 * USEC_PER_SEC);
    make();
    assert_number("kaproxy.config_read", 1800000002);
    assert_true(json_is_null(at("kaproxy.reload_failed")));
}

static void test_process(void **state)
{
    (void)state;
    world->life = ADMIN_DRAINING;
    world->input.unix_now += 90 * USEC_PER_SEC + 250 * USEC_PER_MSEC;
    world->input.snapshot_age = 1500 * USEC_PER_MSEC;
    gauge_set(&world->process.lag, 2500);
    counter_add(&world->process.lines_lost[1], 4);
    make();
    assert_number("kaproxy.started", 1800000000);
    assert_number("kaproxy.now", 1800000090.25);
    assert_number("kaproxy.uptime", 90.25);
    assert_text("kaproxy.state", "draining");
    assert_text("kaproxy.config", world->config->file);
    assert_number("loop.lag", 0.0025);
    assert_true(json_is_true(at("loop.answers")));
    assert_number("loop.snapshot_age", 1.5);
    assert_number("process.loop_lag", 0.0025);
    assert_number("process.log_lines_lost.messages", 0);
    assert_number("process.log_lines_lost.access", 4);
    assert_text("problems.0.code", "log_lines_lost");
    assert_text("problems.0.severity", "warning");
    assert_members("problems.0", "severity code text");
    world->input.unanswered = 2 * USEC_PER_SEC;
    world->input.snapshot = NULL;
    make();
    assert_true(json_is_false(at("loop.answers")));
    assert_true(json_is_null(at("loop.snapshot_age")));
    assert_text("problems.0.code", "loop_stalled");
}

static void test_listeners(void **state)
{
    (void)state;
    counter_add(&world->web_listener.bytes[1], 5000);
    admin_world_times(&world->web_listener.exchange, 10, 300);
    gauge_set(&world->web_listener.sessions, 8);
    gauge_set(&world->web_listener.sessions, 2);
    world->listeners[1].service = SERVICE_PAUSED;
    world->listeners[1].oldest_session = 70 * USEC_PER_SEC;
    admin_world_pass(world, 10 * USEC_PER_SEC);
    make();
    assert_int_equal(json_array_size(at("listeners")), 2);
    assert_text("listeners.0.name", "web");
    assert_text("listeners.0.addresses.0", "127.0.0.1:8080");
    assert_text("listeners.0.upstream", WORLD_WEB);
    assert_text("listeners.0.pool", "default");
    assert_text("listeners.0.protocol", "http");
    assert_text("listeners.0.state", "open");
    assert_number("listeners.0.metrics.bytes.down", 5000);
    assert_number("listeners.0.metrics.sessions", 2);
    assert_number("listeners.0.metrics.exchange.count", 10);
    assert_number("listeners.0.metrics.exchange.sum", 0.003);
    assert_number("listeners.0.peaks.sessions", 8);
    assert_number("listeners.0.rates.bytes", 500);
    assert_number("listeners.0.rates.exchange", 1);
    assert_number("listeners.0.exchange.p50", 0.0003);
    assert_number("listeners.0.exchange.p99", 0.000398);
    assert_text("listeners.1.protocol", "opaque");
    assert_text("listeners.1.pool", "slow");
    assert_text("listeners.1.state", "paused");
    assert_number("listeners.1.oldest_session", 70);
    assert_true(json_is_null(at("listeners.1.exchange")));
}

static void test_hosts(void **state)
{
    const struct failure failure = {
        .function = "tls", .number = 0, .text = "bad \xc3\xa9 and worse \xe9"};
    (void)state;
    make();
    assert_true(json_is_null(at("hosts.0.reuse")));
    assert_true(json_is_null(at("hosts.0.wait")));
    assert_true(json_is_null(at("hosts.0.last_error")));
    assert_true(json_is_null(at("hosts.0.down_since")));
    gauge_set(&world->web.connections[WORLD_BUSY], 3);
    gauge_set(&world->web.connections[WORLD_BUSY], 1);
    gauge_set(&world->web.connections[WORLD_IDLE], 2);
    gauge_set(&world->web.waiting, 6);
    counter_add(&world->web.grants[WORLD_NONE], 1);
    counter_add(&world->web.grants[WORLD_IMMEDIATE], 2);
    counter_add(&world->web.grants[WORLD_DEFERRED], 5);
    counter_add(&world->web.failures[WORLD_QUEUE], 2);
    admin_world_times(&world->web.wait, 1, 400);
    admin_world_dial_fails(world, &world->hosts[0], &failure);
    world->hosts[0].down = true;
    world->hosts[0].down_since = WORLD_START + 5;
    world->hosts[0].oldest_wait = 1250 * USEC_PER_MSEC;
    admin_world_pass(world, 10 * USEC_PER_SEC);
    make();
    assert_int_equal(json_array_size(at("hosts")), 2);
    assert_text("hosts.0.pool", "default");
    assert_text("hosts.0.upstream", WORLD_WEB);
    assert_text("hosts.0.state", "open");
    assert_true(json_is_true(at("hosts.0.down")));
    assert_number("hosts.0.down_since", 1800000000.000005);
    assert_number("hosts.0.limits.max_per_host", 4);
    assert_number("hosts.0.limits.max_connecting", 4);
    assert_number("hosts.0.limits.timeout", 120);
    assert_members("hosts.0.metrics.connections", "busy held connecting idle");
    assert_number("hosts.0.metrics.connections.busy", 1);
    assert_number("hosts.0.peaks.connections.busy", 3);
    assert_number("hosts.0.metrics.waiting", 6);
    assert_number("hosts.0.rates.grants", 0.8);
    assert_number("hosts.0.rates.failures", 0.2);
    assert_number("hosts.0.rates.dials", 0);
    assert_number("hosts.0.reuse", 0.875);
    assert_number("hosts.0.wait.p50", 0.0003);
    assert_true(json_is_null(at("hosts.0.connect")));
    assert_number("hosts.0.oldest_wait", 1.25);
    assert_text("hosts.0.last_error.text", "bad ?? and worse ?");
    assert_text("hosts.0.last_error.function", "tls");
    assert_number("hosts.0.last_error.errno", 0);
    assert_number("hosts.0.last_error.at", 1800000000);
    assert_text("hosts.1.upstream", WORLD_RAW);
    assert_text("pools.0.name", "default");
    assert_number("pools.0.connections.busy", 1);
    assert_number("pools.0.connections.idle", 2);
    assert_number("pools.0.waiting", 6);
    assert_number("pools.1.limits.max_per_host", 2);
    assert_number("pools.1.waiting", 0);
    assert_members("problems.0", "severity code pool upstream text");
}

static void test_sessions(void **state)
{
    (void)state;
    world->input.show_sessions = true;
    make();
    assert_int_equal(json_array_size(at("sessions")), 0);
    world->sessions[0] = (struct snapshot_session){.listener = "web",
                                                   .client = "127.0.0.1:4711",
                                                   .state = "waiting",
                                                   .age = 3 * USEC_PER_SEC,
                                                   .quiet = 2 * USEC_PER_SEC,
                                                   .waiting = USEC_PER_SEC,
                                                   .bytes_up = 10,
                                                   .bytes_down = 20};
    world->sessions[1] =
        (struct snapshot_session){.listener = "raw", .state = "relaying", .conn = 7};
    world->snapshot.sessions = world->sessions;
    world->snapshot.session_count = 2;
    world->snapshot.sessions_left_out = 12;
    make();
    assert_members("sessions.0",
                   "listener client state age quiet waiting bytes_up bytes_down conn");
    assert_text("sessions.0.client", "127.0.0.1:4711");
    assert_text("sessions.0.state", "waiting");
    assert_number("sessions.0.age", 3);
    assert_number("sessions.0.quiet", 2);
    assert_number("sessions.0.waiting", 1);
    assert_number("sessions.0.bytes_down", 20);
    assert_true(json_is_null(at("sessions.0.conn")));
    assert_number("sessions.1.conn", 7);
    assert_number("sessions_left_out", 12);
}

/* Two hosts whose endpoints differ only by their TLS settings have the same labels. */
static void test_hosts_of_one_name(void **state)
{
    (void)state;
    world->blocks[WORLD_BLOCK_RAW].labels = world->blocks[WORLD_BLOCK_WEB].labels;
    world->hosts[1] = world->hosts[0];
    world->hosts[1].oldest_wait = USEC_PER_SEC;
    gauge_set(&world->raw.waiting, 5);
    struct history *history = history_new(world->blocks, WORLD_BLOCKS, WORLD_NOW);
    world->input.history = history;
    make();
    assert_number("hosts.0.oldest_wait", 0);
    assert_number("hosts.0.metrics.waiting", 0);
    assert_number("hosts.1.oldest_wait", 1);
    assert_number("hosts.1.metrics.waiting", 5);
    history_free(history);
}

static unsigned until_failure;
static long blocks;

static void *short_malloc(size_t size)
{
    if (until_failure > 0 && --until_failure == 0)
        return NULL;
    void *memory = malloc(size);
    blocks += memory != NULL;
    return memory;
}

static void counted_free(void *memory)
{
    blocks -= memory != NULL;
    free(memory);
}

/* A text that fails is tried once more, as if it were not UTF-8: then all of it is there. */
static void test_shortage(void **state)
{
    (void)state;
    world->input.show_sessions = true;
    world->sessions[0] = (struct snapshot_session){
        .listener = "web", .client = "127.0.0.1:4711", .state = "reading"};
    world->snapshot.sessions = world->sessions;
    world->snapshot.session_count = 1;
    gauge_set(&world->process.failing[0], 1);
    admin_world_times(&world->web.wait, 1, 400);
    make();
    json_set_alloc_funcs(short_malloc, counted_free);
    for (unsigned nth = 1;; nth++) {
        until_failure = nth;
        json_t *made = status_new(&world->input);
        bool came = until_failure == 0;
        until_failure = 0;
        assert_true(made == NULL || json_equal(made, status));
        json_decref(made);
        assert_int_equal(blocks, 0);
        if (!came) {
            assert_non_null(made);
            assert_true(nth > 300);
            break;
        }
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_listeners, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hosts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sessions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hosts_of_one_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shortage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
