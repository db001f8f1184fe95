/* SPDX-License-Identifier: ISC */
/* Upstreams that are down, or away for a moment: connect_retries and fail_after [38 to 42]. */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <sys/socket.h>

#include "support/pool_fixture.h"
#include "tls/tls.h"

static struct pool_stats stats_of(const struct fixture *f)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    return stats;
}

static void retain(struct fixture *f, const struct peer *peer)
{
    assert_non_null(pool_retain(f->pool, &ask_prepare(f, peer)->endpoint, NULL));
}

static void fail_dial(struct fixture *f)
{
    struct ask *failed = ask(f, &f->refusing);
    ask_wait(failed);
    claim_failed(failed, "connect", ECONNREFUSED);
}

/* Asks, and is refused before a dial could have begun. */
static struct ask *ask_refused(struct fixture *f, struct peer *peer)
{
    uint64_t dials = stats_of(f).dials;
    struct ask *refused = ask(f, peer);
    ask_wait(refused);
    claim_failed(refused, "allocate", EHOSTDOWN);
    assert_int_equal(stats_of(f).dials, dials);
    return refused;
}

static void claim_text(const struct ask *ask, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, ask->failure.text, 0, NULL, 0) != 0)
        fail_msg("\"%s\" does not match %s", ask->failure.text, pattern);
    regfree(&regex);
}

/* The port of the peer that refuses begins to listen. */
static void come_back(struct fixture *f)
{
    assert_int_equal(listen(f->refusing.fd, 16), 0);
}

#define SINCE                                                                                      \
    "^the upstream has been down since [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z "

/* [39, 40] */
static void refused_at_once(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.fail_after = 2});
    retain(f, &f->refusing);
    fail_dial(f);
    fail_dial(f);
    assert_int_equal(stats_of(f).down, 1);
    for (int i = 0; i < 3; i++)
        claim_text(ask_refused(f, &f->refusing), SINCE "\\(connect: Connection refused\\)$");
    assert_int_equal(stats_of(f).refused, 3);
    assert_int_equal(stats_of(f).failures, 5);
    ask_get(f, &f->a, FROM_NONE);
}

/* [40] It says when to ask again: when the pause is over, if that is known. */
static void says_when_to_ask_again(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.fail_after = 1});
    retain(f, &f->refusing);
    fail_dial(f);
    assert_in_range(ask_refused(f, &f->refusing)->failure.retry_after, 1, 2);
    for (int i = 0; i < 10; i++)
        fixture_warp(f, 30 * USEC_PER_SEC);
    assert_in_range(ask_refused(f, &f->refusing)->failure.retry_after, 22, 30);
}

/* [41, 42] */
static void recovery_is_noticed(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.fail_after = 1});
    retain(f, &f->refusing);
    fail_dial(f);
    uint64_t dials = stats_of(f).dials;
    fixture_warp(f, USEC_PER_SEC * 3 / 2);
    assert_int_equal(stats_of(f).dials, dials + 1);
    ask_refused(f, &f->refusing);
    come_back(f);
    fixture_warp(f, 3 * USEC_PER_SEC);
    assert_int_equal(stats_of(f).down, 0);
    claim_stats(f, 0, 0, 1, 0);
    ask_get(f, &f->refusing, FROM_IMMEDIATE);
    ask_get(f, &f->refusing, FROM_NONE);
}

/* [39, 40] A dial that never ends uses up the time of its waiter, and then those behind it are
 * refused together, not one after the other. */
static void black_hole(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){
                        .max_per_host = 2, .connect_timeout = USEC_PER_SEC, .fail_after = 2});
    struct peer *blackhole = fixture_blackhole(f);
    retain(f, blackhole);
    struct ask *asks[10];
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        asks[i] = ask(f, blackhole);
    fixture_warp(f, 500 * USEC_PER_MSEC);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        claim_pending(asks[i]);
    fixture_warp(f, 500 * USEC_PER_MSEC);
    for (size_t i = 0; i < 2; i++)
        claim_failed(asks[i], "connect", ETIMEDOUT);
    for (size_t i = 2; i < ARRAY_LEN(asks); i++) {
        claim_failed(asks[i], "allocate", EHOSTDOWN);
        claim_text(asks[i], SINCE "\\(connect: no connection within connect_timeout = 1 s\\)$");
    }
    ask_refused(f, blackhole);
    assert_in_range(stats_of(f).connecting, 0, 1);
    peer_unblock(blackhole);
    for (int i = 0; i < 10 && stats_of(f).down > 0; i++)
        fixture_warp(f, USEC_PER_SEC);
    assert_int_equal(stats_of(f).down, 0);
    ask_get(f, blackhole, FROM_IMMEDIATE);
}

/* [39] The same if the clients' time expires first. */
static void black_hole_for_shorter_waits(void **state)
{
    struct fixture *f = *state;
    fixture_pool(
        f, &(struct pool_limits){.max_per_host = 2, .timeout = USEC_PER_SEC, .fail_after = 2});
    struct peer *blackhole = fixture_blackhole(f);
    retain(f, blackhole);
    for (size_t i = 0; i < 2; i++)
        ask(f, blackhole);
    fixture_begin(f);
    fixture_warp(f, USEC_PER_SEC);
    claim_text(ask_refused(f, blackhole),
               SINCE "\\(connect: no connection within timeout = 1 s\\)$");
}

/* A waiter delayed by a limit says nothing about the upstream. */
static void queue_does_not_count(void **state)
{
    struct fixture *f = *state;
    fixture_pool(
        f, &(struct pool_limits){.max_per_host = 1, .timeout = USEC_PER_SEC, .fail_after = 1});
    retain(f, &f->a);
    ask_get(f, &f->a, FROM_NONE);
    struct ask *late = ask(f, &f->a);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(late, "queue", ETIMEDOUT);
    assert_int_equal(stats_of(f).down, 0);
}

/* [38] An upstream that restarts fails no request. */
static void restart_fails_nobody(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.connect_retries = 2, .fail_after = 1});
    struct ask *first = ask(f, &f->refusing), *second = ask(f, &f->refusing);
    fixture_iterate(f);
    claim_stats(f, 0, 2, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_pending(first);
    come_back(f);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(first, FROM_NONE);
    claim_ok(second, FROM_NONE);
    assert_int_equal(stats_of(f).dials, 2);
    assert_int_equal(stats_of(f).retries, 4);
    assert_int_equal(stats_of(f).down, 0);
}

/* [38, 25] */
static void last_try_counts(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.connect_retries = 2, .fail_after = 1});
    retain(f, &f->refusing);
    struct ask *failed = ask(f, &f->refusing);
    for (int i = 0; i < 2; i++) {
        fixture_iterate(f);
        claim_pending(failed);
        assert_int_equal(stats_of(f).down, 0);
        fixture_warp(f, USEC_PER_SEC);
    }
    ask_wait(failed);
    claim_failed(failed, "connect", ECONNREFUSED);
    assert_int_equal(stats_of(f).down, 1);
    for (int i = 0; i < 5; i++)
        fixture_warp(f, 10 * USEC_PER_SEC);
    assert_int_equal(stats_of(f).retries, 2); /* once it is down it has its pauses [41] */
}

/* [38, 20] */
static void waiters_time_ends_in_a_pause(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = 1500 * USEC_PER_MSEC, .connect_retries = 9});
    struct ask *failed = ask(f, &f->refusing);
    fixture_iterate(f);
    fixture_warp(f, USEC_PER_SEC);
    claim_pending(failed);
    fixture_warp(f, 500 * USEC_PER_MSEC);
    claim_failed(failed, "connect", ETIMEDOUT);
    claim_text(failed, "^no connection within timeout = 1500 ms \\(Connection refused\\)$");
    claim_stats(f, 0, 0, 0, 0);
}

/* [38, 11] Whatever is ready first goes to the waiter, also between two tries. */
static void released_one_overtakes_a_try(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2, .connect_retries = 9});
    come_back(f);
    struct ask *first = ask_get(f, &f->refusing, FROM_NONE);
    peer_accept(&f->refusing);
    assert_int_equal(shutdown(f->refusing.fd, SHUT_RDWR), 0); /* it listens no more */
    struct ask *second = ask(f, &f->refusing);
    fixture_iterate(f);
    claim_pending(second);
    ask_release(first);
    ask_wait(second);
    claim_ok(second, FROM_DEFERRED);
    claim_stats(f, 1, 0, 0, 0);
    claim_discards(f, DISCARD_DIAL_UNWANTED, 1);
}

/* [38] So are those that have ended because they were cancelled. */
static void tries_of_cancelled_dials_count(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.connect_retries = 9});
    struct ask *gone = ask(f, &f->refusing);
    fixture_iterate(f);
    fixture_warp(f, USEC_PER_SEC);
    ask_cancel(gone);
    fixture_iterate(f);
    claim_discards(f, DISCARD_DIAL_UNWANTED, 1);
    assert_int_equal(stats_of(f).retries, 1);
}

/* [41] One that continues when its host goes down has no more tries of its own. */
static void dial_that_is_left_has_the_pauses(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1,
                                          .timeout = 1500 * USEC_PER_MSEC,
                                          .connect_retries = 100,
                                          .fail_after = 1});
    retain(f, &f->refusing);
    struct ask *failed = ask(f, &f->refusing), *patient = ask_prepare(f, &f->refusing);
    patient->allocation.timeout = 100 * USEC_PER_SEC;
    ask_start(patient);
    fixture_iterate(f);
    fixture_warp(f, USEC_PER_SEC);
    fixture_warp(f, 500 * USEC_PER_MSEC);
    claim_failed(failed, "connect", ETIMEDOUT);
    claim_failed(patient, "allocate", EHOSTDOWN);
    claim_stats(f, 0, 1, 0, 0);
    for (int i = 0; i < 10; i++)
        fixture_warp(f, USEC_PER_SEC);
    assert_int_equal(stats_of(f).retries, 2); /* the second was to come */
    assert_in_range(stats_of(f).dials, 3, 4);
}

/* A peer that accepts connections and sends nothing, where TLS is required. */
static void silent_tls(struct fixture *f, const struct pool_limits *limits, const struct peer *peer)
{
    static struct tls_client *client;
    const struct tls_options options = {.server_name = "127.0.0.1",
                                        .ca_file = "",
                                        .cert_file = "",
                                        .key_file = "",
                                        .min_version = "1.2"};
    struct tls_mistake mistake;
    if (client == NULL)
        client = tls_client_new(&options, &mistake);
    assert_non_null(client);
    fixture_pool(f, limits);
    const struct endpoint *endpoint = &ask_prepare(f, peer)->endpoint;
    assert_non_null(pool_retain(f->pool, endpoint, client));
    if (limits->min_idle > 0)
        assert_int_equal(pool_keep_preconnected(f->pool, endpoint), 0);
}

static void claim_dials(const struct fixture *f, unsigned started, unsigned failed)
{
    assert_int_equal(stats_of(f).dials, started);
    claim_discards(f, DISCARD_DIAL_FAILED, failed);
    claim_stats(f, 0, started - failed, 0, 0);
}

/* [38, 41] Without connect_timeout nothing else would end the attempt. */
static void silent_attempt_ends(void **state)
{
    struct fixture *f = *state;
    silent_tls(f, &(struct pool_limits){.timeout = 5 * USEC_PER_SEC, .fail_after = 1},
               &f->refusing);
    fail_dial(f);
    come_back(f);
    fixture_warp(f, 1500 * USEC_PER_MSEC);
    claim_dials(f, 2, 1);
    fixture_warp(f, 4 * USEC_PER_SEC);
    claim_dials(f, 2, 1);
    fixture_warp(f, USEC_PER_SEC);
    claim_dials(f, 2, 2);
    claim_text(ask_refused(f, &f->refusing),
               SINCE "\\(tls: handshake not finished within timeout = 5 s\\)$");
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_dials(f, 3, 2);
}

/* [38, 41] The same for the remaining dial when the host goes down by another one. */
static void silent_dial_that_is_left_ends(void **state)
{
    struct fixture *f = *state;
    silent_tls(f, &(struct pool_limits){.timeout = 5 * USEC_PER_SEC, .fail_after = 1}, &f->a);
    struct ask *first = ask(f, &f->a), *second = ask(f, &f->a);
    fixture_iterate(f);
    peer_accept(&f->a);
    peer_conn_close(TAILQ_FIRST(&f->a.conns));
    fixture_iterate(f);
    claim_failed(first, "tls", 0);
    claim_failed(second, "allocate", EHOSTDOWN);
    claim_dials(f, 2, 1);
    fixture_warp(f, 4 * USEC_PER_SEC);
    claim_dials(f, 2, 1);
    fixture_warp(f, USEC_PER_SEC);
    claim_dials(f, 2, 2);
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_dials(f, 3, 2);
}

/* [38] No waiter is left for it. */
static void silent_dial_that_nobody_needs_ends(void **state)
{
    struct fixture *f = *state;
    silent_tls(f, &(struct pool_limits){.timeout = 5 * USEC_PER_SEC}, &f->a);
    struct ask *gone = ask(f, &f->a);
    fixture_iterate(f);
    ask_cancel(gone);
    fixture_iterate(f);
    claim_dials(f, 1, 0);
    fixture_warp(f, 5 * USEC_PER_SEC);
    claim_dials(f, 1, 1);
}

/* [38] There was no waiter for it. */
static void silent_preconnected_one_ends(void **state)
{
    struct fixture *f = *state;
    silent_tls(f, &(struct pool_limits){.timeout = 5 * USEC_PER_SEC, .min_idle = 1}, &f->a);
    fixture_iterate(f);
    claim_dials(f, 1, 0);
    fixture_warp(f, 5 * USEC_PER_SEC);
    claim_dials(f, 1, 1);
}

/* [38] There is always a waiter for it. */
static void silent_dial_of_many_ends(void **state)
{
    struct fixture *f = *state;
    silent_tls(f, &(struct pool_limits){.max_per_host = 1, .timeout = 5 * USEC_PER_SEC}, &f->a);
    for (int i = 0; i < 9; i++) {
        ask(f, &f->a);
        fixture_warp(f, USEC_PER_SEC);
        claim_discards(f, DISCARD_DIAL_FAILED, 0);
    }
    ask(f, &f->a);
    fixture_warp(f, USEC_PER_SEC);
    claim_discards(f, DISCARD_DIAL_FAILED, 1);
    assert_int_equal(stats_of(f).dials, 2);
}

/* [42] All places are those of earlier connections, which are useful. */
static void useful_ones_end_it(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 1, .fail_after = 1});
    const struct pool_host *host =
        pool_retain(f->pool, &ask_prepare(f, &f->refusing)->endpoint, NULL);
    come_back(f);
    struct ask *held = ask_get(f, &f->refusing, FROM_NONE);
    peer_accept(&f->refusing);
    assert_int_equal(shutdown(f->refusing.fd, SHUT_RDWR), 0); /* it listens no more */
    ask_hold(held);
    fail_dial(f);
    assert_true(pool_unhold(&held->allocation));
    uint64_t dials = stats_of(f).dials;
    fixture_warp(f, 2 * USEC_PER_SEC);
    ask_refused(f, &f->refusing);
    ask_release(held);
    assert_int_equal(stats_of(f).down, 1);
    struct ask *first = ask_get(f, &f->refusing, FROM_IMMEDIATE);
    assert_int_equal(stats_of(f).down, 0);
    assert_int_equal(pool_recoveries(host), 1); /* it is logged as well */
    struct ask *second = ask(f, &f->refusing);
    fixture_iterate(f);
    claim_pending(second);
    ask_release(first);
    ask_wait(second);
    claim_ok(second, FROM_DEFERRED);
    assert_int_equal(stats_of(f).dials, dials);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(refused_at_once),
        FIXTURE_TEST(says_when_to_ask_again),
        FIXTURE_TEST(recovery_is_noticed),
        FIXTURE_TEST(black_hole),
        FIXTURE_TEST(black_hole_for_shorter_waits),
        FIXTURE_TEST(queue_does_not_count),
        FIXTURE_TEST(restart_fails_nobody),
        FIXTURE_TEST(last_try_counts),
        FIXTURE_TEST(waiters_time_ends_in_a_pause),
        FIXTURE_TEST(released_one_overtakes_a_try),
        FIXTURE_TEST(tries_of_cancelled_dials_count),
        FIXTURE_TEST(dial_that_is_left_has_the_pauses),
        FIXTURE_TEST(silent_attempt_ends),
        FIXTURE_TEST(silent_dial_that_is_left_ends),
        FIXTURE_TEST(silent_dial_that_nobody_needs_ends),
        FIXTURE_TEST(silent_preconnected_one_ends),
        FIXTURE_TEST(silent_dial_of_many_ends),
        FIXTURE_TEST(useful_ones_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
