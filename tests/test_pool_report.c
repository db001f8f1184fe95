/* What the log says of a host: when clients have to wait because of a limit, and when that is over;
 * each once, however often it happens. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "pool_fixture.h"

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

#define REPORT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* The lines so far that match. */
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
    assert_int_equal(lines("notice: clients wait no longer: "), ends);
}

/* Clients that have to wait */

#define UPSTREAM "pool=test upstream=tcp://127\\.0\\.0\\.1:[0-9]+ "

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

/* Lets whoever waits have the connection and give it back, one after the other. */
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
    assert_int_equal(lines("wait no longer: " UPSTREAM "max_per_host=1 lasted_s=3\\.[0-9] waited=3 "
                           "most_waiting=3 longest_wait_ms=3[0-9]{3}\\.[0-9]$"),
                     1);
}

/* Nobody has waited for 10 s, or it is not over. */
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

/* While somebody waits it is not over, however long that is. */
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
    assert_non_null(pool_pin(f->pool, &f->asks[0].endpoint));
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
    fixture_turn(f);
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
    assert_int_equal(lines("wait no longer: " UPSTREAM "max_open=3 lasted_s="), 1);
    assert_int_equal(lines("wait no longer: " UPSTREAM "max_connecting=1 max_open=3 lasted_s="), 1);
}

/* A host that goes while its time lasts. */
static void end_of_a_host_is_an_end(void **state)
{
    struct fixture *f = *state;
    struct ask *first = hold_up(f);
    ask_cancel(&f->asks[1]);
    ask_discard(first, false);
    claim_lines(1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(wait_is_reported_once),   REPORT_TEST(wait_lasts_until_it_is_quiet),
        REPORT_TEST(long_wait_is_not_over),   REPORT_TEST(bursts_are_one_time),
        REPORT_TEST(dial_is_no_limit),        REPORT_TEST(other_limits_have_names),
        REPORT_TEST(end_of_a_host_is_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
