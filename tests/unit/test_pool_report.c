/* SPDX-License-Identifier: ISC */
/* What the log says about a host: when clients have to wait because of a limit, when it cannot be
 * reached, and when that is over; each once, however often it happens. */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "support/pool_fixture.h"

static char log_file[] = "/tmp/test_pool_report.XXXXXX";

static int setup(void **state)
{
    int result = fixture_setup(state);
    strcpy(strrchr(log_file, '.'), ".XXXXXX");
    int fd = mkstemp(log_file);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(log_open(log_file, LOG_LEVEL_NOTICE), 0);
    return result;
}

static int teardown(void **state)
{
    assert_int_equal(log_open("stderr", LOG_LEVEL_ERROR), 0);
    unlink(log_file);
    return fixture_teardown(state);
}

#define UPSTREAM "pool=test upstream=tcp://127\\.0\\.0\\.1:[0-9]+ "

#define REPORT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* The matching lines so far. */
static unsigned lines(const char *pattern)
{
    char line[4096];
    regex_t regex;
    unsigned n = 0;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    FILE *file = fopen(log_file, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        n += regexec(&regex, line, 0, NULL, 0) == 0;
    }
    fclose(file);
    regfree(&regex);
    return n;
}

static void claim_lines(unsigned waits, unsigned ends)
{
    assert_int_equal(lines("warning: clients have to wait: "), waits);
    assert_int_equal(lines("notice: clients no longer wait: "), ends);
}

/* Clients that have to wait */

/* One client has the only connection, and another one waits for it. */
static struct ask *hold_up(struct fixture *f)
{
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    pool_set_name(f->pool, "test");
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    claim_lines(0, 0);
    ask(f, &f->a);
    claim_lines(1, 0);
    return first;
}

/* Lets each waiter have the connection and return it, one after the other. */
static void serve_all(struct fixture *f, struct ask *first)
{
    ask_release(first);
    for (unsigned i = 1; i < f->ask_count; i++) {
        ask_wait(&f->asks[i]);
        if (f->asks[i].held)
            ask_release(&f->asks[i]);
    }
}

static void wait_is_reported_once(void **state)
{
    struct fixture *f = *state;
    struct ask *first = hold_up(f);
    ask(f, &f->a);
    ask(f, &f->a);
    fixture_warp(f, 3 * USEC_PER_SEC);
    serve_all(f, first);
    assert_int_equal(lines("have to wait: " UPSTREAM "max_per_host=1 waiting=1$"), 1);
    claim_lines(1, 0);
    fixture_warp(f, 9 * USEC_PER_SEC);
    claim_lines(1, 0);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_lines(1, 1);
    assert_int_equal(lines("no longer wait: " UPSTREAM "max_per_host=1 lasted_s=3\\.[0-9] waited=3 "
                           "most_waiting=3 longest_wait_ms=3[0-9]{3}\\.[0-9]$"),
                     1);
}

/* No client has waited for 10 s, or it is not over. */
static void wait_lasts_until_it_is_quiet(void **state)
{
    struct fixture *f = *state;
    struct ask *holder = hold_up(f);
    for (int i = 0; i < 5; i++) {
        fixture_warp(f, 8 * USEC_PER_SEC);
        ask_release(holder);
        holder = &f->asks[f->ask_count - 1];
        ask_wait(holder);
        fixture_warp(f, 9 * USEC_PER_SEC);
        ask(f, &f->a);
    }
    claim_lines(1, 0);
    serve_all(f, holder);
    fixture_warp(f, 11 * USEC_PER_SEC);
    claim_lines(1, 1);
    assert_int_equal(lines(" lasted_s=85\\.[0-9] waited=6 most_waiting=1 "), 1);
}

/* While a client waits it is not over, however long that lasts. */
static void long_wait_is_not_over(void **state)
{
    struct fixture *f = *state;
    struct ask *first = hold_up(f);
    for (int i = 0; i < 5; i++)
        fixture_warp(f, 11 * USEC_PER_SEC);
    claim_lines(1, 0);
    ask_cancel(&f->asks[1]);
    ask_release(first);
    fixture_warp(f, 11 * USEC_PER_SEC);
    claim_lines(1, 1);
}

/* Bursts with more than 10 s between them: soon one time spans them all. */
static void bursts_are_one_time(void **state)
{
    struct fixture *f = *state;
    serve_all(f, hold_up(f));
    assert_non_null(pool_retain(f->pool, &f->asks[0].endpoint, NULL));
    for (int i = 0; i < 9; i++) {
        fixture_warp(f, 11 * USEC_PER_SEC);
        struct ask *first = ask(f, &f->a);
        ask_wait(first);
        struct ask *second = ask(f, &f->a);
        ask_release(first);
        ask_wait(second);
        ask_release(second);
    }
    claim_lines(2, 1);
    fixture_warp(f, 59 * USEC_PER_SEC);
    claim_lines(2, 1);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_lines(2, 2);
}

/* A waiter with a dial of its own waits for no limit. */
static void dial_is_no_limit(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    const struct peer *blackhole = fixture_blackhole(f);
    for (int i = 0; i < POOL_MAX_PER_HOST; i++)
        ask(f, blackhole);
    fixture_iterate(f);
    claim_lines(0, 0);
}

static void other_limits_have_names(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_connecting = 1, .max_open = 3});
    pool_set_name(f->pool, "test");
    for (int i = 0; i < 2; i++)
        ask(f, &f->a);
    assert_int_equal(lines("have to wait: " UPSTREAM "max_connecting=1 waiting=1$"), 1);
    for (int i = 0; i < 2; i++)
        ask_wait(&f->asks[i]);
    ask_get(f, &f->b, FROM_NONE);
    ask(f, &f->b);
    assert_int_equal(lines("have to wait: " UPSTREAM "max_open=3 waiting=1$"), 1);
    ask(f, &f->a);
    claim_lines(2, 0);
    ask_cancel(&f->asks[3]);
    ask_cancel(&f->asks[4]);
    fixture_warp(f, 11 * USEC_PER_SEC);
    assert_int_equal(lines("no longer wait: " UPSTREAM "max_open=3 lasted_s="), 1);
    assert_int_equal(lines("no longer wait: " UPSTREAM "max_connecting=1 max_open=3 lasted_s="), 1);
}

/* A host that is removed during its time. */
static void end_of_a_host_is_an_end(void **state)
{
    struct fixture *f = *state;
    struct ask *first = hold_up(f);
    ask_cancel(&f->asks[1]);
    ask_discard(first, false);
    claim_lines(1, 1);
}

/* Upstreams that cannot be reached */

static void fail_dial(struct fixture *f)
{
    struct ask *failed = ask(f, &f->refusing);
    ask_wait(failed);
    claim_failed(failed, "connect", ECONNREFUSED);
}

static void succeed(struct fixture *f)
{
    ask_discard(ask_get(f, &f->refusing, FROM_NONE), false);
}

static void start_outage(struct fixture *f)
{
    fixture_pool(f, NULL);
    pool_set_name(f->pool, "test");
    fail_dial(f);
    assert_non_null(pool_retain(f->pool, &f->asks[0].endpoint, NULL));
    fail_dial(f);
}

/* The port of the peer that refuses begins to listen. */
static void come_back(struct fixture *f)
{
    assert_int_equal(listen(f->refusing.fd, 16), 0);
    succeed(f);
}

#define AGAIN "notice: reachable again: " UPSTREAM

static void reachable_again(void **state)
{
    struct fixture *f = *state;
    start_outage(f);
    fail_dial(f);
    fixture_warp(f, 5 * USEC_PER_SEC);
    assert_int_equal(lines(AGAIN), 0);
    come_back(f);
    assert_int_equal(lines(AGAIN "failed_for_s=[5-9]\\.[0-9] failures=2$"), 1);
    succeed(f);
    assert_int_equal(lines(AGAIN), 1);
}

static void set_reachable(struct fixture *f, bool reachable)
{
    names_set(f->names, "x.test", reachable ? "127.0.0.1" : NULL, reachable ? NULL : "no", 0);
}

static struct ask *ask_x(struct fixture *f)
{
    struct ask *asked = ask_name(f, "x.test", &f->a);
    ask_wait(asked);
    return asked;
}

/* An upstream that comes and goes: a line in 10 s at most, no failure is forgotten, and the last
 * line is the current state. */
static void reachable_now_and_then(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    set_reachable(f, false);
    const struct pool_host *host = pool_retain(f->pool, &ask_x(f)->endpoint, NULL);
    assert_non_null(host);
    ask_x(f);
    for (int i = 0; i < 4; i++) {
        set_reachable(f, true);
        ask_discard(ask_x(f), false);
        assert_int_equal(pool_recoveries(host), 1);
        set_reachable(f, false);
        ask_x(f);
    }
    fixture_warp(f, 11 * USEC_PER_SEC);
    assert_int_equal(lines("reachable again: "), 1);
    set_reachable(f, true);
    ask_discard(ask_x(f), false);
    assert_int_equal(lines("reachable again: .* failures=1$"), 1);
    assert_int_equal(lines("reachable again: .* failures=4$"), 1);
}

/* [39 to 42] Down once, with the reason, and up once, with the consequences; nothing about refused
 * requests, or about the dials between. */
static void down_and_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1, .fail_after = 2});
    pool_set_name(f->pool, "test");
    const struct ask *prepared = ask_prepare(f, &f->refusing);
    assert_int_equal(pool_keep_preconnected(f->pool, &prepared->endpoint), 0);
    fixture_iterate(f);
#define DOWN "warning: upstream is down: " UPSTREAM
    assert_int_equal(lines(DOWN), 0);
    fail_dial(f);
    assert_int_equal(lines(DOWN "failures=2 function=connect errno=111 "
                                "error=\"Connection refused\"$"),
                     1);
    unsigned spares = lines("no spare connection");
    for (int i = 0; i < 5; i++) {
        ask_wait(ask(f, &f->refusing));
        fixture_warp(f, 5 * USEC_PER_SEC);
    }
    assert_int_equal(lines(DOWN), 1);
    assert_int_equal(lines("no spare connection"), spares);
    assert_int_equal(lines(AGAIN), 0);
    assert_int_equal(listen(f->refusing.fd, 16), 0);
    fixture_warp(f, 30 * USEC_PER_SEC);
    assert_int_equal(lines(AGAIN "failed_for_s=[0-9.]+ failures=[0-9]+ refused=5$"), 1);
    assert_int_equal(lines(DOWN), 1);
}

/* One that comes and goes has a line for each in turn, and not more than one in 10 s. */
static void down_and_up_now_and_then(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.fail_after = 1});
    set_reachable(f, false);
    struct ask *first = ask_x(f); /* its host is gone with it */
    assert_non_null(pool_retain(f->pool, &first->endpoint, NULL));
    ask_x(f);
    for (int i = 0; i < 4; i++) {
        set_reachable(f, true);
        fixture_warp(f, 2 * USEC_PER_SEC);
        ask_discard(ask_x(f), false);
        set_reachable(f, false);
        ask_x(f);
    }
    assert_int_equal(lines("upstream is down: "), 1 + 2);
    assert_int_equal(lines("reachable again: "), 1);
    set_reachable(f, true);
    fixture_warp(f, 11 * USEC_PER_SEC);
    assert_int_equal(lines("upstream is down: "), 1 + 2);
    assert_int_equal(lines("reachable again: .* failures=[0-9]+ refused=[0-9]+$"), 2);
}

/* An allocation's time expires before that of its dial. */
static void dial_that_takes_too_long_is_a_failure(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = USEC_PER_SEC});
    struct peer *blackhole = fixture_blackhole(f);
    struct ask *failed = ask(f, blackhole);
    assert_non_null(pool_retain(f->pool, &failed->endpoint, NULL));
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_failed(failed, "connect", ETIMEDOUT);
    peer_unblock(blackhole);
    ask_get(f, blackhole, FROM_NONE);
    assert_int_equal(lines("reachable again: .* failures=1$"), 1);
}

static void preconnected_that_fail_are_summed_up(void **state)
{
    struct fixture *f = *state;
    struct ask *prepared = ask_prepare(f, &f->refusing);
    fixture_pool(f, &(struct pool_limits){.min_idle = 2});
    pool_set_name(f->pool, "test");
    assert_int_equal(pool_keep_preconnected(f->pool, &prepared->endpoint), 0);
    fixture_iterate(f);
    fixture_warp(f, 2 * USEC_PER_SEC);
#define NO_PRECONNECTED                                                                            \
    "warning: no spare connection: " UPSTREAM "function=connect errno=111 error="
    assert_int_equal(lines(NO_PRECONNECTED), 1);
    fixture_warp(f, 10 * USEC_PER_SEC);
    assert_int_equal(
        lines(NO_PRECONNECTED "\"Connection refused\" \\([0-9]+ more like this in 1[0-9] s"), 1);
}

/* Connections */

/* Each step has a line, including that of a dial that is no longer needed. */
static void unwanted_dial_has_a_line(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    pool_set_name(f->pool, "test");
    assert_int_equal(log_open(log_file, LOG_LEVEL_DEBUG), 0);
    struct ask *gone = ask(f, fixture_blackhole(f));
    fixture_iterate(f);
    ask_cancel(gone);
#define CONN "debug: pool=test endpoint=tcp://127\\.0\\.0\\.1:[0-9]+ conn=[0-9]+ fd=-?[0-9]+ "
    assert_int_equal(lines(CONN "new -> connecting \\(waiter\\)$"), 1);
    assert_int_equal(lines(CONN "connecting -> closed \\(dial_unwanted\\)$"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(wait_is_reported_once),
        REPORT_TEST(wait_lasts_until_it_is_quiet),
        REPORT_TEST(long_wait_is_not_over),
        REPORT_TEST(bursts_are_one_time),
        REPORT_TEST(dial_is_no_limit),
        REPORT_TEST(other_limits_have_names),
        REPORT_TEST(end_of_a_host_is_an_end),
        REPORT_TEST(reachable_again),
        REPORT_TEST(reachable_now_and_then),
        REPORT_TEST(down_and_up),
        REPORT_TEST(down_and_up_now_and_then),
        REPORT_TEST(dial_that_takes_too_long_is_a_failure),
        REPORT_TEST(preconnected_that_fail_are_summed_up),
        REPORT_TEST(unwanted_dial_has_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
