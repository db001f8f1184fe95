/* SPDX-License-Identifier: ISC */
/* Rates, counts and quantiles of the last minute: from copies, and from the current values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

/* What was counted a while ago is forgotten, but nothing before that. */
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

/* Long after the ring has wrapped around. */
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

/* For a late copy the true span is used. */
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

/* Of other blocks from now on. */
static void go_on(const struct metric_block *blocks, size_t count)
{
    struct history *history = history_continue(world->history, blocks, count);
    assert_non_null(history);
    history_free(world->history);
    world->history = history;
}

static uint64_t count_of(const struct metric_labels *labels, const char *name)
{
    const struct subjects *subjects = history_subjects(world->history);
    struct figure figure = subjects_figure(subjects, subjects_find(subjects, labels), name);
    return history_count(world->history, &figure, -1, world->input.now);
}

/* The same numbers, in another order: nothing is forgotten, and nothing is counted twice. */
static void test_goes_on(void **state)
{
    const struct metric_block blocks[] = {world->blocks[WORLD_BLOCK_RAW],
                                          world->blocks[WORLD_BLOCK_WEB]};
    (void)state;
    counter_add(&world->web.dials, 3);
    admin_world_pass(world, 10 * USEC_PER_SEC);
    counter_add(&world->web.dials, 4);
    admin_world_times(&world->web.wait, 10, 300);
    go_on(blocks, ARRAY_LEN(blocks));
    assert_int_equal(count("upstream_dials", -1), 7);
    assert_true(rate("upstream_dials") == 0.7);
    assert_quantile(0.5, 200, 400);
    counter_add(&world->web.dials, 1);
    assert_int_equal(count("upstream_dials", -1), 8);
    admin_world_pass(world, 55 * USEC_PER_SEC);
    assert_int_equal(count("upstream_dials", -1), 5);
    admin_world_pass(world, 65 * USEC_PER_SEC);
    assert_int_equal(count("upstream_dials", -1), 0);
}

/* Another host in its place, as after a change of certificates: it has counted less, or more. */
static void test_goes_on_with_other_numbers(void **state)
{
    static struct world_host other;
    struct metric_block blocks[WORLD_BLOCKS];
    (void)state;
    for (uint64_t before = 0; before < 10000; before += 9000) {
        memcpy(blocks, world->blocks, sizeof(blocks));
        blocks[WORLD_BLOCK_WEB].block = &other;
        counter_set(&other.dials, before);
        counter_set(&other.grants[WORLD_DEFERRED], 5);
        admin_world_pass(world, 70 * USEC_PER_SEC);
        counter_add(&world->web.dials, 1000);
        admin_world_pass(world, 15 * USEC_PER_SEC);
        counter_add(&world->web.dials, 30);
        go_on(blocks, ARRAY_LEN(blocks));
        assert_int_equal(count("upstream_dials", -1), 1030);
        assert_true(rate("upstream_dials") == 3);
        assert_int_equal(count("upstream_grants", WORLD_DEFERRED), 0);
        counter_add(&other.dials, 2);
        assert_int_equal(count("upstream_dials", -1), 1032);
        admin_world_pass(world, 65 * USEC_PER_SEC);
        assert_int_equal(count("upstream_dials", -1), 0);
        go_on(world->blocks, WORLD_BLOCKS);
    }
}

/* The block that was there before is unrelated, whatever it has counted. */
static void test_new_ones_begin(void **state)
{
    const struct metric_labels late = {.listener = "late"}, web = {.listener = "web"};
    struct metric_block blocks[] = {world->blocks[WORLD_BLOCK_WEB],
                                    world->blocks[WORLD_BLOCK_WEB_LISTENER],
                                    world->blocks[WORLD_BLOCK_WEB]};
    static struct world_listener listener;
    static struct world_host host;
    (void)state;
    counter_set(&listener.accepted, 9);
    counter_set(&host.dials, 9);
    counter_set(&world->web.dials, 3);
    counter_set(&world->web_listener.accepted, 5);
    blocks[1].labels = late;
    blocks[1].block = &listener;
    blocks[2].labels = web; /* a set that the old one did not have */
    blocks[2].block = &host;
    go_on(blocks, ARRAY_LEN(blocks));
    assert_int_equal(count_of(&late, "listener_accepted"), 0);
    assert_int_equal(count_of(&web, "upstream_dials"), 0);
    assert_int_equal(count_of(&web, "listener_accepted"), 0);
    assert_int_equal(count("upstream_dials", -1), 3);
    counter_add(&listener.accepted, 1);
    assert_int_equal(count_of(&late, "listener_accepted"), 1);
}

/* Labels may change: a second host with the same name has appeared, and now both have more of
 * them. */
static void test_same_block_with_other_labels(void **state)
{
    const struct metric_labels a = {.pool = "default", .upstream = WORLD_WEB, .tls = "a"},
                               plain = {.pool = "default", .upstream = WORLD_WEB};
    static struct world_host host;
    struct metric_block blocks[] = {world->blocks[WORLD_BLOCK_WEB], world->blocks[WORLD_BLOCK_WEB]};
    (void)state;
    counter_set(&world->web.dials, 3);
    counter_set(&host.dials, 9);
    blocks[0].block = &host; /* with the labels that the other one had */
    blocks[1].labels = a;
    go_on(blocks, ARRAY_LEN(blocks));
    assert_int_equal(count_of(&a, "upstream_dials"), 3);
    assert_int_equal(count_of(&plain, "upstream_dials"), 0);
}

static void test_restart(void **state)
{
    (void)state;
    counter_add(&world->web.dials, 3);
    admin_world_pass(world, 20 * USEC_PER_SEC);
    history_restart(world->history, world->input.now);
    assert_int_equal(count("upstream_dials", -1), 0);
    counter_add(&world->web.dials, 1);
    admin_world_pass(world, 20 * USEC_PER_SEC);
    assert_int_equal(count("upstream_dials", -1), 1);
}

static void test_shortage_as_it_goes_on(void **state)
{
    int nth = 0;
    struct history *history = NULL;
    (void)state;
    counter_add(&world->web.dials, 3);
    while (history == NULL) {
        shortage_of_calloc(++nth);
        history = history_continue(world->history, world->blocks, WORLD_BLOCKS);
        assert_int_equal(count("upstream_dials", -1), 3);
    }
    shortage_of_calloc(0);
    assert_true(nth > 5);
    history_free(history);
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
        cmocka_unit_test_setup_teardown(test_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_goes_on_with_other_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_new_ones_begin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_block_with_other_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shortage_as_it_goes_on, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
