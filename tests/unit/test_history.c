/* Rates, counts and quantiles of the last minute: from copies, and from what is there now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "admin/history.h"
#include "support/admin_world.h"
#include "support/shortage.h"

static struct admin_world *world;

static int set_up(void **state)
{
    (void)state;
    world = admin_world_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shortage_of_calloc(0);
    admin_world_free(world);
    return 0;
}

static struct figure figure_of_web(const char *name)
{
    const struct subjects *subjects = history_subjects(world->history);
    const struct metric_labels labels = {.pool = "default", .upstream = WORLD_WEB};
    return subjects_figure(subjects, subjects_find(subjects, &labels), name);
}

static uint64_t count(const char *name, int index)
{
    struct figure figure = figure_of_web(name);
    return history_count(world->history, &figure, index, world->input.now);
}

static double rate(const char *name)
{
    struct figure figure = figure_of_web(name);
    return history_rate(world->history, &figure, -1, world->input.now);
}

static void assert_quantile(double share, usec_t low, usec_t high)
{
    struct figure figure = figure_of_web("upstream_wait");
    usec_t time;
    assert_true(history_quantile(world->history, &figure, share, world->input.now, &time));
    assert_true(time >= low && time <= high);
}

/* What was counted a while ago is forgotten, and nothing is before. */
static void test_count_is_of_a_minute(void **state)
{
    (void)state;
    counter_add(&world->web.dials, 3);
    assert_int_equal(count("upstream_dials", -1), 3); /* no time has passed */
    admin_world_pass(world, 55 * USEC_PER_SEC);
    assert_int_equal(count("upstream_dials", -1), 3);
    counter_add(&world->web.dials, 4);
    admin_world_pass(world, 10 * USEC_PER_SEC);
    assert_int_equal(count("upstream_dials", -1), 4);
    admin_world_pass(world, 60 * USEC_PER_SEC);
    assert_int_equal(count("upstream_dials", -1), 0);
}

/* Long after the ring has gone round. */
static void test_ring_goes_round(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        counter_add(&world->web.dials, 1);
        admin_world_pass(world, HISTORY_INTERVAL);
    }
    assert_int_equal(count("upstream_dials", -1), 12);
}

static void test_labels_are_apart(void **state)
{
    (void)state;
    counter_add(&world->web.grants[WORLD_NONE], 1);
    counter_add(&world->web.grants[WORLD_DEFERRED], 5);
    counter_add(&world->raw.grants[WORLD_DEFERRED], 9);
    assert_int_equal(count("upstream_grants", WORLD_NONE), 1);
    assert_int_equal(count("upstream_grants", WORLD_IMMEDIATE), 0);
    assert_int_equal(count("upstream_grants", WORLD_DEFERRED), 5);
    assert_int_equal(count("upstream_grants", -1), 6);
}

static void test_rate_is_of_ten_seconds(void **state)
{
    (void)state;
    counter_add(&world->web.dials, 1000);
    assert_true(rate("upstream_dials") == 1000); /* not infinite */
    admin_world_pass(world, 5 * USEC_PER_SEC);
    assert_true(rate("upstream_dials") == 200);
    admin_world_pass(world, 5 * USEC_PER_SEC);
    counter_add(&world->web.dials, 50);
    assert_true(rate("upstream_dials") == 105);
    admin_world_pass(world, 5 * USEC_PER_SEC);
    assert_true(rate("upstream_dials") == 5);
    admin_world_pass(world, 10 * USEC_PER_SEC);
    assert_true(rate("upstream_dials") == 0);
}

/* Of a late copy the true span counts. */
static void test_late_copy(void **state)
{
    (void)state;
    world->input.now += 40 * USEC_PER_SEC;
    history_sample(world->history, world->input.now);
    counter_add(&world->web.dials, 400);
    world->input.now += 8 * USEC_PER_SEC;
    assert_true(rate("upstream_dials") == 400.0 / 48);
}

static void test_gauges_and_strangers_are_0(void **state)
{
    (void)state;
    gauge_set(&world->web.waiting, 7);
    assert_int_equal(count("upstream_waiting", -1), 0);
    assert_int_equal(count("no_such_thing", -1), 0);
    struct figure stranger = figure_of_web("no_such_thing");
    assert_int_equal(figure_total(&stranger), 0);
    struct figure other = figure_of_web("waiting");
    assert_null(other.metric);
    struct figure waiting = figure_of_web("upstream_waiting");
    assert_int_equal(figure_total(&waiting), 7);
}

static void test_quantiles(void **state)
{
    struct figure wait = figure_of_web("upstream_wait"), dials = figure_of_web("upstream_dials");
    usec_t time;
    (void)state;
    assert_false(history_quantile(world->history, &wait, 0.5, world->input.now, &time));
    assert_false(history_quantile(world->history, &dials, 0.5, world->input.now, &time));
    admin_world_times(&world->web.wait, 90, 300);          /* in 200 to 400 us */
    admin_world_times(&world->web.wait, 10, USEC_PER_SEC); /* in 819.2 to 1638.4 ms */
    assert_quantile(0.45, 300, 300);                       /* the middle of its bucket */
    assert_quantile(0.9, 400, 400);
    assert_quantile(0.99, 819200, 1638400);
    assert_quantile(1, 1638400, 1638400);
    assert_quantile(0, 200, 200);
    admin_world_pass(world, 70 * USEC_PER_SEC);
    assert_false(history_quantile(world->history, &wait, 0.5, world->input.now, &time));
}

static void test_quantile_beyond_the_last_limit(void **state)
{
    (void)state;
    admin_world_times(&world->web.wait, 1, 1000 * USEC_PER_SEC);
    assert_quantile(0.5, 104857600, 104857600);
}

/* The exact one is in the same bucket: less than twice as large, more than half. */
static void test_quantile_error_is_bounded(void **state)
{
    (void)state;
    for (usec_t exact = 101; exact < 100 * USEC_PER_SEC; exact = exact * 21 / 20 + 1) {
        admin_world_pass(world, 65 * USEC_PER_SEC);
        admin_world_times(&world->web.wait, 100, exact);
        assert_quantile(0.01, exact / 2, exact * 2);
        assert_quantile(0.99, exact / 2, exact * 2);
    }
}

/* Blocks of one set with the same labels are two subjects; those of several sets are one. */
static void test_subjects(void **state)
{
    const struct metric_labels web = {.pool = "default", .upstream = WORLD_WEB};
    struct metric_block blocks[] = {world->blocks[WORLD_BLOCK_WEB],
                                    world->blocks[WORLD_BLOCK_WEB_LISTENER],
                                    world->blocks[WORLD_BLOCK_RAW]};
    (void)state;
    blocks[1].labels = blocks[2].labels = web;
    struct subjects *subjects = subjects_new(blocks, ARRAY_LEN(blocks));
    assert_int_equal(subjects->count, 2);
    assert_int_equal(subjects->list[0].count, 2);
    assert_int_equal(subjects->list[1].count, 1);
    assert_ptr_equal(subjects_find(subjects, &web), &subjects->list[0]);
    struct figure figure = subjects_figure(subjects, &subjects->list[0], "listener_accepted");
    assert_int_equal(figure.block_index, 1);
    figure = subjects_figure(subjects, &subjects->list[1], "upstream_dials");
    assert_int_equal(figure.block_index, 2);
    subjects_free(subjects);
}

static void test_size_is_known(void **state)
{
    size_t host = WORLD_FROM + WORLD_FUNCTIONS + 2 + 2 + 2 * HISTOGRAM_BUCKETS;
    size_t listener = 3 + HISTOGRAM_BUCKETS, process = 6;
    (void)state;
    assert_int_equal(history_size(world->history),
                     14 * 8 * (2 * host + 2 * listener + process + 1));
}

static void test_shortage(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        shortage_of_calloc(nth);
        struct history *history = history_new(world->blocks, WORLD_BLOCKS, 0);
        if (!shortage_came()) {
            history_free(history);
            assert_true(nth > 5);
            break;
        }
        assert_null(history);
    }
    history_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_count_is_of_a_minute, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ring_goes_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_labels_are_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_is_of_ten_seconds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_late_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gauges_and_strangers_are_0, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quantiles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quantile_beyond_the_last_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quantile_error_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_subjects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_size_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shortage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
