/* SPDX-License-Identifier: ISC */
/* What is reported as a problem: for each staged fault the code, the place and the words that an
 * operator needs; and nothing if all is well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "admin/problems.h"
#include "support/admin_world.h"
#include "support/ini_text.h"

static struct admin_world *world;
static struct problems problems;

static unsigned until_failure;
static bool failed;

static bool fails(void)
{
    if (until_failure == 0 || --until_failure > 0)
        return false;
    errno = ENOMEM;
    return failed = true;
}

void *__real_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(memory, count, size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

static int set_up(void **state)
{
    (void)state;
    world = admin_world_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    until_failure = 0;
    problems_clear(&problems);
    admin_world_free(world);
    return 0;
}

static void find(void)
{
    problems_clear(&problems);
    assert_int_equal(problems_find(&problems, &world->input), 0);
}

static void assert_words(const struct problem *problem, const char *words)
{
    if (strstr(problem->text, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, problem->text);
}

/* Exactly these, in this order; ended by NULL. */
static void assert_codes(const char *first, ...)
{
    va_list args;
    size_t i = 0;
    find();
    va_start(args, first);
    for (const char *code = first; code != NULL; code = va_arg(args, const char *), i++) {
        if (i == problems.count)
            fail_msg("%s is missing", code);
        assert_string_equal(problems.list[i].code, code);
        assert_true(problems.list[i].text[0] != '\0');
        if (problems.list[i].text[strlen(problems.list[i].text) - 1] == '.')
            fail_msg("a full stop: %s", problems.list[i].text);
    }
    va_end(args);
    if (i < problems.count)
        fail_msg("too many: %s: %s", problems.list[i].code, problems.list[i].text);
}

/* Just one, with all of these words; ended by NULL. */
static void assert_one(const char *code, enum severity severity, ...)
{
    va_list args;
    assert_codes(code, NULL);
    assert_int_equal(problems.list[0].severity, severity);
    va_start(args, severity);
    for (const char *words; (words = va_arg(args, const char *)) != NULL;)
        assert_words(&problems.list[0], words);
    va_end(args);
    print_message("# %s\n", problems.list[0].text);
}

static void assert_place(const char *listener, const char *pool, const char *upstream)
{
    const struct problem *problem = &problems.list[0];
    const char *have[] = {problem->listener, problem->pool, problem->upstream};
    const char *want[] = {listener, pool, upstream};
    for (size_t i = 0; i < ARRAY_LEN(have); i++) {
        assert_int_equal(have[i] == NULL, want[i] == NULL);
        if (want[i] != NULL)
            assert_string_equal(have[i], want[i]);
    }
}

/* A healthy pool: most clients get an idle connection, some connections are dialled. */
static void serve(unsigned clients, usec_t exchange)
{
    counter_add(&world->web.grants[WORLD_IMMEDIATE], clients);
    admin_world_times(&world->web.wait, clients, 20);
    admin_world_times(&world->web_listener.exchange, clients, exchange);
}

static void fill(uint64_t busy, uint64_t waiting, usec_t oldest)
{
    gauge_set(&world->web.connections[WORLD_BUSY], busy);
    gauge_set(&world->web.waiting, waiting);
    gauge_set(&world->web.queued, waiting);
    world->hosts[0].oldest_wait = oldest;
}

static void test_nothing(void **state)
{
    (void)state;
    assert_codes(NULL);
    serve(1000, 5 * USEC_PER_MSEC);
    fill(4, 0, 0);
    admin_world_dial_works(world, &world->hosts[0]);
    gauge_set(&world->process.clients, 99);
    assert_codes(NULL);
    world->input.snapshot = NULL;
    assert_codes(NULL);
}

/* Clients that get a connection within milliseconds are not a problem. */
static void test_short_waits_are_none(void **state)
{
    (void)state;
    serve(1000, 5 * USEC_PER_MSEC);
    counter_add(&world->web.grants[WORLD_DEFERRED], 400);
    admin_world_times(&world->web.wait, 400, 3 * USEC_PER_MSEC);
    fill(4, 7, 5 * USEC_PER_MSEC);
    assert_codes(NULL);
}

/* Staged: upstream slow. */
static void test_upstream_slow(void **state)
{
    (void)state;
    serve(20, 3 * USEC_PER_SEC);
    fill(4, 3, 2 * USEC_PER_SEC);
    assert_codes("upstream_slow", "clients_waiting", NULL);
    assert_place(NULL, "default", WORLD_WEB);
    assert_words(&problems.list[0], WORLD_WEB " is slow");
    assert_words(&problems.list[0], "listener web took 2.4 s or longer");
    assert_words(&problems.list[0], "4 of max_per_host=4 connections are busy, 3 clients wait");
    assert_words(&problems.list[1], "the upstream is slow, and more connections may not help");
}

/* It is slow, which does no harm yet; until response_timeout is near. */
static void test_slow_without_pressure(void **state)
{
    (void)state;
    serve(20, 3 * USEC_PER_SEC);
    fill(1, 0, 0);
    assert_codes(NULL);
    serve(1, 12 * USEC_PER_SEC);
    assert_one("upstream_slow", SEVERITY_WARNING, "response_timeout=20s is near", NULL);
}

/* One upstream, with two kinds of TLS settings: it is the second one's host that is slow. */
static void test_hosts_of_one_name(void **state)
{
    struct config *config = world->config;
    (void)state;
    world->view.config = ini_load("[listener web]\nlisten=127.0.0.1:80\nupstream=https://x\n"
                                  "[listener raw]\nlisten=127.0.0.1:81\nupstream=https://x\n"
                                  "tls_min_version=1.3\n");
    world->blocks[WORLD_BLOCK_WEB].labels =
        (struct metric_labels){.pool = "default", .upstream = "https://x:443", .tls = "web"};
    world->blocks[WORLD_BLOCK_RAW].labels =
        (struct metric_labels){.pool = "default", .upstream = "https://x:443", .tls = "raw"};
    struct history *history = history_new(world->blocks, WORLD_BLOCKS, WORLD_NOW);
    world->input.history = history;
    world->input.snapshot = NULL;
    admin_world_times(&world->web_listener.exchange, 20, USEC_PER_MSEC);
    admin_world_times(&world->raw_listener.exchange, 20, 3 * USEC_PER_SEC);
    gauge_set(&world->raw.connections[WORLD_BUSY], 4);
    assert_one("upstream_slow", SEVERITY_WARNING,
               "https://x:443 (TLS as in listener raw) is slow: ", "of listener raw took 2.4 s",
               NULL);
    assert_place(NULL, "default", "https://x:443");
    history_free(history);
    config_unref((struct config *)(uintptr_t)world->view.config);
    world->view.config = config;
}

/* Staged: an upstream that accepts requests, and sends nothing. */
static void test_upstream_silent(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        world->sessions[i] = (struct snapshot_session){.listener = "web",
                                                       .client = "127.0.0.1:5000",
                                                       .state = "relaying",
                                                       .quiet = (usec_t)(6 + i) * USEC_PER_SEC,
                                                       .conn = i + 1};
    world->snapshot.sessions = world->sessions;
    world->snapshot.session_count = 4;
    fill(4, 0, 0);
    assert_one("upstream_slow", SEVERITY_CRITICAL,
               WORLD_WEB " does not respond: 4 requests of listener web are without a response,"
                         " for up to 9.0 s",
               "all 4 connections are busy (max_per_host)", "response_timeout=20s ends that", NULL);
    assert_place("web", "default", WORLD_WEB);
    gauge_set(&world->web.connections[WORLD_HELD], 4); /* WebSockets may be silent */
    world->config->pools[0].limits.max_tunnels = 9;
    assert_codes(NULL);
}

/* Staged: clients that never finish. The upstream is not to blame, neither for incomplete requests
 * nor for exchanges that took long. */
static void test_clients_silent(void **state)
{
    (void)state;
    serve(20, 12 * USEC_PER_SEC);
    for (size_t i = 0; i < 4; i++)
        world->sessions[i] = (struct snapshot_session){.listener = "web",
                                                       .client = "127.0.0.1:5003",
                                                       .state = "relaying",
                                                       .quiet = (usec_t)(6 + i) * USEC_PER_SEC,
                                                       .waits_for_client = true,
                                                       .conn = i + 1};
    world->snapshot.sessions = world->sessions;
    world->snapshot.session_count = 4;
    fill(4, 3, 2 * USEC_PER_SEC);
    assert_codes("clients_stuck", "clients_waiting", NULL);
    assert_words(&problems.list[0], "4 clients of listener web keep a connection to " WORLD_WEB);
    assert_words(&problems.list[1], "clients are slow to send, or to take what they are sent");
    for (size_t i = 0; i < 4; i++)
        world->sessions[i].waits_for_client = false;
    assert_codes("upstream_slow", "upstream_slow", "clients_waiting", NULL);
    assert_words(&problems.list[2], "the upstream is slow");
}

/* Staged: upstream down. */
static void test_upstream_down(void **state)
{
    const struct failure refused = {
        .function = "connect", .number = ECONNREFUSED, .text = "Connection refused"};
    (void)state;
    admin_world_dial_works(world, &world->hosts[0]);
    admin_world_pass(world, USEC_PER_SEC);
    admin_world_dial_fails(world, &world->hosts[0], &refused);
    admin_world_pass(world, 20 * USEC_PER_SEC);
    counter_add(&world->web.failures[WORLD_CONNECT], 7);
    assert_one("upstream_failing", SEVERITY_CRITICAL, WORLD_WEB,
               "nothing listens there: Connection refused", "7 clients got an error",
               "Last failure: 2027-01-15T08:00:01Z (20 s ago)",
               "last success: 2027-01-15T08:00:00Z (21 s ago)", NULL);
    assert_place(NULL, "default", WORLD_WEB);
    admin_world_pass(world, 300 * USEC_PER_SEC); /* no dial is tried */
    assert_one("upstream_failing", SEVERITY_WARNING, "(5 min ago)", NULL);
    admin_world_pass(world, 900 * USEC_PER_SEC);
    assert_codes(NULL);
}

static void test_upstream_down_by_fail_after(void **state)
{
    const struct failure late = {
        .function = "connect", .number = ETIMEDOUT, .text = "no connection within 1 s"};
    (void)state;
    admin_world_dial_fails(world, &world->hosts[0], &late);
    world->hosts[0].down = true;
    world->hosts[0].down_since = world->input.unix_now;
    counter_add(&world->web.refused, 1);
    admin_world_pass(world, 180 * USEC_PER_SEC - 5 * USEC_PER_SEC);
    counter_add(&world->web.refused, 41);
    assert_one("upstream_down", SEVERITY_CRITICAL, WORLD_WEB " is down since",
               "(2 min ago): it does not answer: no connection within 1 s", "41 clients got",
               "After 2 failures (fail_after)", NULL);
    world->hosts[0].down = false;
    gauge_set(&world->web.down, 1); /* the loop has not reported yet */
    assert_one("upstream_down", SEVERITY_CRITICAL, WORLD_WEB " is down", NULL);
}

/* One dial of many, and later ones succeed. */
static void test_some_dials_fail(void **state)
{
    const struct failure reset = {
        .function = "connect", .number = ECONNRESET, .text = "Connection reset by peer"};
    (void)state;
    counter_add(&world->web.dials, 10);
    counter_add(&world->web.discards[1], 3);
    admin_world_dial_fails(world, &world->hosts[0], &reset);
    admin_world_pass(world, USEC_PER_SEC);
    admin_world_dial_works(world, &world->hosts[0]);
    assert_one("upstream_failing", SEVERITY_WARNING, "3 of 10 attempts", "Connection reset", NULL);
    admin_world_pass(world, 70 * USEC_PER_SEC);
    assert_codes(NULL);
}

/* While older connections serve, it is not an outage. */
static void test_no_new_connections(void **state)
{
    const struct failure refused = {
        .function = "connect", .number = ECONNREFUSED, .text = "Connection refused"};
    (void)state;
    admin_world_dial_fails(world, &world->hosts[0], &refused);
    gauge_set(&world->web.connections[WORLD_IDLE], 2);
    assert_one("upstream_failing", SEVERITY_WARNING, "2 older connections are still in use", NULL);
}

/* Staged: pool too small. */
static void test_pool_too_small(void **state)
{
    (void)state;
    serve(500, 30 * USEC_PER_MSEC);
    fill(4, 3, 2100 * USEC_PER_MSEC);
    assert_one("clients_waiting", SEVERITY_WARNING, "3 clients wait for a connection to " WORLD_WEB,
               "the first one for 2.1 s: max_per_host=4, all 4 are busy",
               "the pool is too small, or clients are too many", NULL);
    assert_place(NULL, "default", WORLD_WEB);
    counter_add(&world->web.failures[WORLD_QUEUE], 2);
    assert_one("clients_waiting", SEVERITY_CRITICAL, "2 got none within timeout=120s", NULL);
}

static void test_other_limits(void **state)
{
    (void)state;
    fill(1, 1, USEC_PER_SEC);
    gauge_set(&world->web.connections[WORLD_CONNECTING], 1);
    world->config->pools[0].limits.max_connecting = 1;
    assert_one("clients_waiting", SEVERITY_WARNING, "1 client waits",
               ", for 1.0 s: ", "max_connecting=1, so many are being opened", NULL);
    world->config->pools[0].limits.max_open = 2;
    assert_one("clients_waiting", SEVERITY_WARNING,
               "max_open=2, so many connections are open in"
               " pool default",
               NULL);
    gauge_set(&world->web.queued, 0);
    assert_one("clients_waiting", SEVERITY_WARNING, "1 connection is being opened", NULL);
    world->hosts[0].service = SERVICE_PAUSED;
    assert_codes("clients_waiting", "paused", NULL);
    assert_words(&problems.list[0], "it is paused");
}

static void test_waits_lately(void **state)
{
    (void)state;
    serve(60, 30 * USEC_PER_MSEC);
    counter_add(&world->web.grants[WORLD_DEFERRED], 40);
    admin_world_times(&world->web.wait, 40, 300 * USEC_PER_MSEC);
    assert_one("waits_lately", SEVERITY_NOTICE, "40 of 100 clients", "max_per_host=4", NULL);
    admin_world_times(&world->web.wait, 40, 3 * USEC_PER_SEC);
    assert_one("waits_lately", SEVERITY_WARNING, WORLD_WEB, NULL);
    admin_world_pass(world, 70 * USEC_PER_SEC);
    assert_codes(NULL);
}

/* At its end all need a connection at once. */
static void test_waits_in_a_pause(void **state)
{
    (void)state;
    counter_add(&world->web.grants[WORLD_DEFERRED], 40);
    admin_world_times(&world->web.wait, 40, 30 * USEC_PER_SEC);
    gauge_set(&world->web.connections[WORLD_BUSY], 4);
    world->hosts[0].resumed_at = WORLD_START;
    world->input.unix_now = WORLD_START + 5 * USEC_PER_SEC;
    assert_one("waits_lately", SEVERITY_NOTICE, "40 of 40 clients",
               "or longer): the upstream was paused until 2027-01-15T08:00:00Z (5.0 s ago)", NULL);
    assert_null(strstr(problems.list[0].text, "max_per_host"));
    assert_null(strstr(problems.list[0].text, "too small"));
    counter_add(&world->web.failures[WORLD_QUEUE], 1);
    assert_one("waits_lately", SEVERITY_WARNING, "the upstream was paused until",
               "1 got none in time", NULL);
    world->hosts[0].resumed_at = WORLD_START - 120 * USEC_PER_SEC;
    assert_one("waits_lately", SEVERITY_WARNING, "max_per_host=4", NULL);
    world->hosts[0].resumed_at = 0;
    world->listeners[1].resumed_at = WORLD_START; /* of another host */
    assert_one("waits_lately", SEVERITY_WARNING, "max_per_host=4", NULL);
    world->listeners[0].resumed_at = WORLD_START;
    assert_one("waits_lately", SEVERITY_WARNING,
               "listener web was paused until 2027-01-15T08:00:00Z", NULL);
    world->listeners[0].service = SERVICE_PAUSED;
    assert_codes("waits_lately", "paused", NULL);
    assert_words(&problems.list[0], "listener web is paused");
}

/* Staged: DNS gone. */
static void test_dns_gone(void **state)
{
    const struct failure unresolved = {
        .function = "resolve", .text = "no answer from the name servers (asked 127.0.0.1:53)"};
    (void)state;
    counter_add(&world->process.queries, 4);
    counter_add(&world->process.failures, 4);
    admin_world_dial_fails(world, &world->hosts[1], &unresolved);
    assert_codes("dns_failing", "dns_failing", NULL);
    assert_words(&problems.list[0], "DNS: the name of " WORLD_RAW " is not resolved");
    assert_words(&problems.list[0], "; 4 of 4 lookups of the last minute failed");
    assert_words(&problems.list[0], "/etc/resolv.conf");
    assert_words(&problems.list[1], "No connection to " WORLD_RAW " can be opened: its name is not"
                                    " resolved (DNS): no answer from the name servers (asked"
                                    " 127.0.0.1:53)");
    assert_string_equal(problems.list[1].upstream, WORLD_RAW);
    world->hosts[1].last_error_at = 0; /* one family of addresses: all is well */
    assert_codes(NULL);
    gauge_set(&world->process.names_failing, 2);
    assert_one("dns_failing", SEVERITY_WARNING, "lookups of 2 names fail", "serves for up to 1 h",
               NULL);
    admin_world_dial_fails(world, &world->hosts[1], &unresolved);
    admin_world_pass(world, USEC_PER_SEC);
    admin_world_dial_works(world, &world->hosts[1]);
    assert_one("dns_failing", SEVERITY_WARNING, "lookups of 2 names fail", NULL);
}

/* Staged: certificate expired; theirs, and ours. */
static void test_certificate_expired(void **state)
{
    struct failure expired = {.function = "tls",
                              .fault = TLS_FAULT_CERTIFICATE,
                              .text = "certificate has expired (CN=a on 2026-11-29)"};
    (void)state;
    admin_world_dial_fails(world, &world->hosts[0], &expired);
    assert_one("certificate_expired", SEVERITY_CRITICAL, WORLD_WEB,
               "its certificate has expired: certificate has expired (CN=a on 2026-11-29)", NULL);
    expired.fault = TLS_FAULT_ALERT;
    snprintf(expired.text, sizeof(expired.text), "the upstream refused: certificate expired");
    admin_world_dial_fails(world, &world->hosts[0], &expired);
    assert_one("certificate_expired", SEVERITY_CRITICAL, "our certificate has expired", NULL);
    expired.fault = TLS_FAULT_CERTIFICATE;
    snprintf(expired.text, sizeof(expired.text), "self-signed certificate");
    admin_world_dial_fails(world, &world->hosts[0], &expired);
    assert_one("upstream_failing", SEVERITY_CRITICAL, "its certificate is refused: self-", NULL);
}

/* Staged: clients that never finish. */
static void test_clients_stuck(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        world->sessions[i] = (struct snapshot_session){.listener = "raw",
                                                       .client = "127.0.0.1:5001",
                                                       .state = "relaying",
                                                       .quiet = (usec_t)(40 + i) * USEC_PER_SEC,
                                                       .conn = i + 1};
    world->snapshot.sessions = world->sessions;
    world->snapshot.session_count = 2;
    assert_codes(NULL); /* there are other connections */
    world->sessions[0].quiet = 200 * USEC_PER_SEC;
    assert_codes(NULL);
    world->sessions[0].quiet = 40 * USEC_PER_SEC;
    gauge_set(&world->raw.connections[WORLD_BUSY], 2);
    gauge_set(&world->raw.waiting, 1);
    world->hosts[1].oldest_wait = USEC_PER_SEC;
    assert_codes("clients_stuck", "clients_waiting", NULL);
    assert_string_equal(problems.list[0].listener, "raw");
    assert_string_equal(problems.list[0].upstream, WORLD_RAW);
    assert_words(&problems.list[0], "2 clients of listener raw keep a connection to " WORLD_RAW
                                    " in which nothing has moved for up to 41 s (127.0.0.1:5001)");
    assert_words(&problems.list[0], "all 2 are taken (max_per_host), and 1 other waits for one");
    assert_words(&problems.list[0], "idle_timeout=300s ends them");
    assert_int_equal(problems.list[0].severity, SEVERITY_CRITICAL);
    world->sessions[0].conn = 0; /* it has none any more */
    assert_codes("clients_stuck", "clients_waiting", NULL);
    assert_words(&problems.list[0], "1 client of listener raw keeps a connection");
    world->snapshot.sessions = NULL;
    world->listeners[1].longest_quiet = 50 * USEC_PER_SEC;
    assert_codes("clients_stuck", "clients_waiting", NULL);
    assert_words(&problems.list[0], "At least 1 client of listener raw keeps");
}

/* Clients that take all places, and request nothing. */
static void test_max_clients(void **state)
{
    (void)state;
    gauge_set(&world->process.clients, 100);
    world->sessions[0] = (struct snapshot_session){.listener = "web",
                                                   .client = "127.0.0.1:5002",
                                                   .state = "reading",
                                                   .quiet = 20 * USEC_PER_SEC};
    world->snapshot.sessions = world->sessions;
    world->snapshot.session_count = 1;
    assert_one("limit_reached", SEVERITY_CRITICAL, "100 clients are connected", "max_clients=100",
               "1 of these clients has moved nothing for 5 s or longer, 1 of them in listener web"
               " (such as 127.0.0.1:5002)",
               NULL);
    assert_place(NULL, NULL, NULL);
    gauge_set(&world->process.clients, 60);
    counter_add(&world->process.max_clients_reached, 2);
    assert_one("limit_reached", SEVERITY_WARNING, "reached 2 times in the last minute", NULL);
    gauge_set(&world->process.max_clients, 60);
    assert_one("limit_reached", SEVERITY_CRITICAL,
               "max_clients=100 allows (lowered to 60 by the limit of open files)", NULL);
}

static void test_max_waiting_and_tunnels(void **state)
{
    (void)state;
    fill(4, 10, 0);
    assert_one("limit_reached", SEVERITY_CRITICAL, "max_waiting=10", NULL);
    fill(0, 0, 0);
    gauge_set(&world->web.connections[WORLD_HELD], 3);
    assert_one("limit_reached", SEVERITY_WARNING, "max_tunnels=3", WORLD_WEB, NULL);
}

/* Until a reload succeeds, however long ago it failed. */
static void test_reload(void **state)
{
    (void)state;
    reload_stats_fail(&world->stats, "a.ini:1: bad", world->input.unix_now);
    assert_one("reload_failed", SEVERITY_WARNING,
               ": a.ini:1: bad. What was read at 2027-01-15T08:", "stays in effect", NULL);
    reload_stats_fail(&world->stats, "a.ini:1: bad\nb\nc\n", world->input.unix_now);
    admin_world_pass(world, 60 * 60 * USEC_PER_SEC);
    assert_one("reload_failed", SEVERITY_WARNING, "bad (and 2 more mistakes: ", "60 min ago", NULL);
    reload_stats_succeed(&world->stats, 2, world->input.unix_now);
    assert_codes(NULL);
}

/* Staged: log disk full. Nothing is lost at first. */
static void test_log(void **state)
{
    (void)state;
    gauge_set(&world->process.failing[1], 1);
    assert_one("log_failing", SEVERITY_CRITICAL, "The access log (stdout) cannot be written",
               "its disk is full", "0 lost in the last minute", NULL);
    counter_add(&world->process.lines_lost[1], 5);
    assert_one("log_failing", SEVERITY_CRITICAL, "5 lost in the last minute", NULL);
    world->input.log_errors[1] = ENOSPC;
    assert_one("log_failing", SEVERITY_CRITICAL, "its disk is full: No space left on device. ",
               NULL);
    world->input.log_errors[1] = EIO;
    assert_one("log_failing", SEVERITY_CRITICAL, "written: Input/output error. Lines", NULL);
    world->input.log_errors[1] = 0;
    gauge_set(&world->process.failing[1], 0);
    assert_one("log_lines_lost", SEVERITY_WARNING, "access log", "5 lost in the last minute", NULL);
    admin_world_pass(world, 70 * USEC_PER_SEC);
    assert_one("log_lines_lost", SEVERITY_NOTICE, "none in the last minute", "5 since", NULL);
    counter_add(&world->process.lines_lost[0], 1);
    assert_codes("log_lines_lost", "log_lines_lost", NULL);
    assert_words(&problems.list[0], "Lines of the log (stderr) are lost");
}

static void test_descriptors(void **state)
{
    (void)state;
    counter_add(&world->process.accept_pauses, 1);
    assert_one("descriptors", SEVERITY_CRITICAL, "paused 1 time in", "LimitNOFILE", NULL);
}

static void test_loop(void **state)
{
    (void)state;
    world->input.unanswered = 999 * USEC_PER_MSEC;
    assert_codes(NULL);
    world->input.unanswered = 4200 * USEC_PER_MSEC;
    assert_one("loop_stalled", SEVERITY_CRITICAL, "has not answered for 4.2 s", NULL);
    world->input.unanswered = 0;
    gauge_set(&world->process.lag, 300 * USEC_PER_MSEC);
    assert_one("loop_lag", SEVERITY_WARNING, "is 300 ms late", NULL);
}

static void test_service(void **state)
{
    (void)state;
    world->hosts[0].service = SERVICE_PAUSED;
    assert_one("paused", SEVERITY_NOTICE, WORLD_WEB " is paused", "timeout=120s", NULL);
    world->hosts[0].service = SERVICE_DRAINING;
    assert_one("draining", SEVERITY_NOTICE, WORLD_WEB " is draining", NULL);
    world->hosts[0].service = SERVICE_OPEN;
    world->listeners[1].service = SERVICE_PAUSED;
    assert_one("paused", SEVERITY_NOTICE, "Listener raw is paused", NULL);
    assert_place("raw", NULL, NULL);
    world->listeners[1].service = SERVICE_DRAINING;
    assert_one("draining", SEVERITY_NOTICE, "Listener raw is draining", NULL);
    world->life = ADMIN_DRAINING;
    assert_one("draining", SEVERITY_NOTICE, "All listeners are draining", NULL);
    world->life = ADMIN_STOPPING;
    assert_one("stopping", SEVERITY_NOTICE, "shutdown_timeout=30s", NULL);
}

/* The most severe first, whatever they are about. */
static void test_order(void **state)
{
    const struct failure refused = {
        .function = "connect", .number = ECONNREFUSED, .text = "Connection refused"};
    (void)state;
    world->life = ADMIN_DRAINING;
    gauge_set(&world->process.lag, USEC_PER_SEC);
    fill(4, 1, USEC_PER_SEC);
    admin_world_dial_fails(world, &world->hosts[1], &refused);
    assert_codes("upstream_failing", "loop_lag", "clients_waiting", "draining", NULL);
}

/* Everything at once: no text is truncated. */
static void test_long_texts(void **state)
{
    struct failure failure = {.function = "tls", .fault = TLS_FAULT_CERTIFICATE};
    (void)state;
    memset(failure.text, 'x', sizeof(failure.text) - 1);
    memset(world->hosts[0].upstream, 'y', sizeof(world->hosts[0].upstream) - 1);
    world->blocks[WORLD_BLOCK_WEB].labels.upstream = world->hosts[0].upstream;
    struct history *history = history_new(world->blocks, WORLD_BLOCKS, WORLD_NOW);
    world->input.history = history;
    admin_world_dial_works(world, &world->hosts[0]);
    admin_world_pass(world, USEC_PER_SEC);
    admin_world_dial_fails(world, &world->hosts[0], &failure);
    gauge_set(&world->web.connections[WORLD_IDLE], UINT32_MAX);
    counter_set(&world->web.refused, UINT64_MAX);
    assert_one("upstream_failing", SEVERITY_WARNING, "older connections are still in use", NULL);
    history_free(history);
}

static void test_shortage(void **state)
{
    (void)state;
    fill(4, 20, USEC_PER_SEC);
    counter_add(&world->process.accept_pauses, 1);
    gauge_set(&world->process.failing[0], 1);
    gauge_set(&world->process.failing[1], 1);
    gauge_set(&world->process.lag, USEC_PER_SEC);
    gauge_set(&world->process.clients, 100);
    gauge_set(&world->process.names_failing, 1);
    world->life = ADMIN_STOPPING;
    gauge_set(&world->web.connections[WORLD_HELD], 3);
    for (unsigned nth = 1;; nth++) {
        failed = false;
        until_failure = nth;
        int result = problems_find(&problems, &world->input);
        until_failure = 0;
        if (!failed) {
            assert_true(nth > 3);
            assert_true(problems.count > 8);
            break;
        }
        assert_int_equal(result, -1);
        assert_int_equal(problems.count, 0);
        assert_null(problems.list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_waits_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upstream_slow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_without_pressure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hosts_of_one_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_clients_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upstream_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upstream_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upstream_down_by_fail_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_some_dials_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_new_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pool_too_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits_lately, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits_in_a_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dns_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_certificate_expired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_clients_stuck, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_max_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_max_waiting_and_tunnels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_service, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shortage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
