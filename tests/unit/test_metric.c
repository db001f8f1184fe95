/* SPDX-License-Identifier: ISC */
/* Goal of this test: numbers with many readers and one writer, the buckets of times, and that every
 * description leads to a name that is legal and unique among its kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/metric.h"
#include "daemon/listener.h"
#include "net/pipes.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "session/batch.h"
#include "session/http/http.h"
#include "session/protocol.h"
#include "support/log_fixture.h"
#include "tls/tls.h"

static void gauge_keeps_its_peak(void **state)
{
    struct gauge gauge = {0};
    (void)state;
    gauge_set(&gauge, 3);
    gauge_set(&gauge, 1);
    assert_int_equal(gauge_get(&gauge), 1);
    assert_int_equal(counter_get(&gauge.peak), 3);
}

static void buckets_end_at_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(histogram_limit(0), 100);
    for (unsigned i = 0; i < HISTOGRAM_LIMITS; i++) {
        assert_int_equal(histogram_limit(i), (usec_t)100 << i);
        assert_int_equal(histogram_bucket(histogram_limit(i)), i);
        assert_int_equal(histogram_bucket(histogram_limit(i) + 1), i + 1);
    }
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(-1), 0);
    assert_int_equal(histogram_bucket(INT64_MIN), 0);
    assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_LIMITS);
}

static void histogram_counts_and_sums(void **state)
{
    struct histogram histogram = {0};
    (void)state;
    histogram_add(&histogram, 100);
    histogram_add(&histogram, 150);
    histogram_add(&histogram, -5);
    histogram_add(&histogram, 3600 * USEC_PER_SEC);
    assert_int_equal(histogram_count(&histogram), 4);
    assert_int_equal(counter_get(&histogram.buckets[0]), 2);
    assert_int_equal(counter_get(&histogram.buckets[1]), 1);
    assert_int_equal(counter_get(&histogram.buckets[HISTOGRAM_LIMITS]), 1);
    assert_int_equal(counter_get(&histogram.sum), 250 + 3600 * USEC_PER_SEC);
}

/* All sets whose names must differ, except the loop's, which has one. */
static const struct metric_set *const sets[] = {
    &host_metrics, &limits_metrics,   &listener_metrics,  &batch_metrics, NULL /* http's */,
    &tls_metrics,  &resolver_metrics, &listeners_metrics, &pipes_metrics, &log_metrics};

static const struct metric_set *set_at(size_t i)
{
    return sets[i] != NULL ? sets[i] : http_protocol.metrics;
}

static void claim_legal(const char *text)
{
    assert_true(*text != '\0');
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(text));
}

static void claim_described(const struct metric *metric)
{
    claim_legal(metric->name);
    assert_true(strlen(metric->help) > 5 && metric->help[strlen(metric->help) - 1] != '.');
    assert_true(metric->count > 0);
    assert_int_equal(metric->label != NULL, metric->value != NULL);
    assert_true(metric->label != NULL || metric->count == 1);
    assert_true(metric->type != METRIC_HISTOGRAM || metric->unit == METRIC_SECONDS);
    for (unsigned i = 0; metric->label != NULL && i < metric->count; i++) {
        claim_legal(metric->value(i));
        for (unsigned before = 0; before < i; before++)
            assert_string_not_equal(metric->value(before), metric->value(i));
    }
}

static void names_are_legal_and_differ(void **state)
{
    char names[256][96];
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        const struct metric_set *set = set_at(i);
        for (size_t m = 0; m < set->count; m++) {
            claim_described(&set->metrics[m]);
            snprintf(names[count], sizeof(names[count]), "%s%s", set->prefix, set->metrics[m].name);
            for (size_t before = 0; before < count; before++)
                assert_string_not_equal(names[before], names[count]);
            count++;
        }
    }
    assert_true(count > 30);
}

static size_t size_of(enum metric_type type)
{
    static const size_t sizes[] = {[METRIC_COUNTER] = sizeof(struct counter),
                                   [METRIC_GAUGE] = sizeof(struct gauge),
                                   [METRIC_HISTOGRAM] = sizeof(struct histogram)};
    return sizes[type];
}

/* Every byte of a block belongs to exactly one metric. */
static void claim_whole(const struct metric_set *set, size_t size)
{
    static char taken[4096];
    assert_in_range(size, 1, sizeof(taken));
    memset(taken, 0, size);
    for (size_t m = 0; m < set->count; m++) {
        const struct metric *metric = &set->metrics[m];
        for (unsigned i = 0; i < metric->count; i++) {
            const char *at = metric_at(metric, taken, i);
            for (size_t byte = 0; byte < size_of(metric->type); byte++) {
                size_t place = (size_t)(at - taken) + byte;
                assert_true(place < size && taken[place] == 0);
                taken[place] = 1;
            }
        }
    }
    assert_null(memchr(taken, 0, size));
}

static void all_that_is_counted_is_described(void **state)
{
    (void)state;
    claim_whole(&host_metrics, sizeof(struct host_stats));
    claim_whole(&limits_metrics, sizeof(struct limits_stats));
    claim_whole(&listener_metrics, sizeof(struct listener_stats));
    claim_whole(&batch_metrics, sizeof(struct batch_counters));
    claim_whole(&tls_metrics, sizeof(struct tls_stats));
    claim_whole(&resolver_metrics, sizeof(struct resolver_stats));
    claim_whole(&listeners_metrics, sizeof(struct listeners_stats));
    claim_whole(&pipes_metrics, sizeof(struct pipes_stats));
    claim_whole(&log_metrics, sizeof(struct log_stats));
}

static void failures_have_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < POOL_FAILED_COUNT; i++)
        assert_int_equal(pool_failed_by(pool_failed_name((enum pool_failed)i)), i);
    assert_int_equal(pool_failed_by("socket"), FAILED_OTHER);
    assert_int_equal(pool_failed_by(""), FAILED_OTHER);
}

/* The keys of a line. */
struct keys {
    size_t count;
    char names[128][64];
};

static void add_key(struct keys *keys, const char *prefix, const char *suffix)
{
    char key[64];
    snprintf(key, sizeof(key), "%s%s", prefix, suffix);
    claim_legal(key);
    for (size_t i = 0; i < keys->count; i++)
        assert_string_not_equal(keys->names[i], key);
    assert_in_range(keys->count, 0, ARRAY_LEN(keys->names) - 1);
    memcpy(keys->names[keys->count++], key, sizeof(key));
}

static void add_keys(struct keys *keys, const struct metric_set *set)
{
    for (size_t m = 0; m < set->count; m++) {
        const struct metric *metric = &set->metrics[m];
        const char *prefix = metric->log != NULL ? metric->log : metric->name;
        assert_true(metric->label == NULL || metric->log != NULL);
        for (unsigned i = 0; i < metric->count; i++)
            add_key(keys, prefix, metric->label != NULL ? metric->value(i) : "");
        if (metric->log_sum != NULL)
            add_key(keys, metric->log_sum, "");
    }
}

/* Of those whose blocks follow each other with the same labels, or are a pool's. */
static void keys_of_a_line_differ(void **state)
{
    const struct metric_set *const lines[][6] = {
        {&listeners_metrics, &pipes_metrics, &resolver_metrics, &log_metrics},
        {&listener_metrics, http_protocol.metrics},
        {&listener_metrics, &batch_metrics},
        {&tls_metrics},
        {&host_metrics, &limits_metrics},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct keys keys = {.count = 0};
        for (const struct metric_set *const *set = lines[i]; *set != NULL; set++)
            add_keys(&keys, *set);
    }
}

struct block {
    struct counter bytes[2];
    struct gauge depth;
    struct histogram wait;
};

static const char *side(unsigned index)
{
    return index == 0 ? "left" : "right";
}

static const struct metric metrics[] = {
    {.name = "bytes",
     .help = "Bytes by side",
     .type = METRIC_COUNTER,
     .unit = METRIC_BYTES,
     .offset = offsetof(struct block, bytes),
     .label = "side",
     .count = 2,
     .value = side,
     .log = "b_",
     .log_sum = "all"},
    {.name = "depth",
     .help = "How deep it is",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct block, depth),
     .count = 1},
    {.name = "wait",
     .help = "How long it took",
     .type = METRIC_HISTOGRAM,
     .unit = METRIC_SECONDS,
     .offset = offsetof(struct block, wait),
     .count = 1},
};

static void lines_by_labels(void **state)
{
    static const struct metric_set set = {.prefix = "", .metrics = metrics, .count = 3};
    struct block block = {0};
    const struct metric_block blocks[] = {
        {&set, &block, {.listener = "main"}},
        {&set, &block, {.pool = "p", .upstream = "http://a"}},
    };
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    counter_add(&block.bytes[1], 7);
    gauge_set(&block.depth, 2);
    histogram_add(&block.wait, 1500);
    metric_log(blocks, 2);
    assert_matches(content(f, f->file),
                   "^" HEAD
                   " notice: stats listener=main b_left=0 b_right=7 all=7 depth=2 wait_count=1"
                   " wait_sum_ms=1\n" HEAD
                   " notice: stats pool=p upstream=http://a b_left=0 b_right=7 [^\n]*\n$");
}

/* Before the pool's own; other pools' are not in it, and no peak is. */
static void sums_of_a_pool(void **state)
{
    static const struct metric_set set = {.prefix = "", .metrics = metrics, .count = 2};
    static const struct metric_set own = {.prefix = "", .metrics = &metrics[2], .count = 1};
    struct block a = {0}, b = {0}, other = {0};
    const struct metric_block blocks[] = {
        {&set, &a, {.pool = "p", .upstream = "http://a"}},
        {&set, &other, {.pool = "q", .upstream = "http://a"}},
        {&set, &b, {.pool = "p", .upstream = "http://b"}},
        {&own, &other, {.pool = "p"}},
    };
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    counter_add(&a.bytes[0], 1);
    counter_add(&b.bytes[0], 2);
    counter_add(&other.bytes[0], 4);
    gauge_set(&a.depth, 5);
    gauge_set(&a.depth, 3);
    gauge_set(&b.depth, 9);
    gauge_set(&b.depth, 1);
    metric_log(blocks, ARRAY_LEN(blocks));
    const char *text = content(f, f->file);
    assert_matches(text, "upstream=http://a b_left=1 b_right=0 all=1 depth=3 depth_peak=5\n");
    assert_matches(text, "stats pool=p b_left=3 b_right=0 all=3 depth=4 wait_count=0 "
                         "wait_sum_ms=0\n$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gauge_keeps_its_peak),
        cmocka_unit_test(buckets_end_at_powers_of_two),
        cmocka_unit_test(histogram_counts_and_sums),
        cmocka_unit_test(names_are_legal_and_differ),
        cmocka_unit_test(all_that_is_counted_is_described),
        cmocka_unit_test(failures_have_names),
        cmocka_unit_test(keys_of_a_line_differ),
        LOG_TEST(lines_by_labels),
        LOG_TEST(sums_of_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
