/* SPDX-License-Identifier: ISC */
/* What is recorded about reloads: numbers, and the first mistake of one that failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "admin/reload_stats.h"

static void assert_failed(const struct reload_stats *stats, unsigned count, const char *mistake)
{
    assert_int_equal(gauge_get(&stats->last_successful), 0);
    assert_int_equal(stats->mistake_count, count);
    assert_string_equal(stats->mistake, mistake);
}

/* A failure changes neither the configuration in effect nor since when it has been. */
static void test_failure(void **state)
{
    struct reload_stats stats = {.failed_at = 0};
    (void)state;
    reload_stats_start(&stats, 1, 100);
    assert_int_equal(gauge_get(&stats.last_successful), 1);
    assert_int_equal(stats.failed_at, 0);
    reload_stats_fail(&stats, "a.ini:1: bad\na.ini:2: worse\n", 200);
    assert_failed(&stats, 2, "a.ini:1: bad");
    assert_int_equal(stats.failed_at, 200);
    assert_int_equal(gauge_get(&stats.generation), 1);
    assert_int_equal(gauge_get(&stats.last_success_at), 100);
    assert_int_equal(counter_get(&stats.reloads[RELOAD_FAILURE]), 1);
    assert_int_equal(counter_get(&stats.reloads[RELOAD_SUCCESS]), 0);
}

static void test_success_forgets_the_failure(void **state)
{
    struct reload_stats stats = {.failed_at = 0};
    (void)state;
    reload_stats_start(&stats, 1, 100);
    reload_stats_fail(&stats, "a.ini:1: bad", 200);
    reload_stats_succeed(&stats, 2, 300);
    assert_int_equal(gauge_get(&stats.last_successful), 1);
    assert_int_equal(stats.failed_at, 0);
    assert_int_equal(stats.mistake_count, 0);
    assert_string_equal(stats.mistake, "");
    assert_int_equal(gauge_get(&stats.generation), 2);
    assert_int_equal(gauge_get(&stats.last_success_at), 300);
    assert_int_equal(counter_get(&stats.reloads[RELOAD_SUCCESS]), 1);
}

/* However many lines there are, and however long they are. */
static void test_lines(void **state)
{
    struct reload_stats stats = {.failed_at = 0};
    char text[2 * RELOAD_MISTAKE_MAX];
    (void)state;
    reload_stats_fail(&stats, "one\ntwo", 1);
    assert_failed(&stats, 2, "one");
    reload_stats_fail(&stats, "one\n\n\n", 1);
    assert_failed(&stats, 1, "one");
    reload_stats_fail(&stats, "", 1);
    assert_failed(&stats, 0, "");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    reload_stats_fail(&stats, text, 1);
    assert_int_equal(strlen(stats.mistake), RELOAD_MISTAKE_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_success_forgets_the_failure),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
