/* Goal of this test: numbers that many read and one writes, the buckets of times, and that every
 * description leads to a name that is legal and the only one of its kind. */
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

/* All sets whose names must differ, but for the loop's, which has one. */
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
     .log = "b_"},
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
                   "^" HEAD " notice: stats listener=main b_left=0 b_right=7 depth=2 wait_count=1"
                   " wait_sum_ms=1\n" HEAD
                   " notice: stats pool=p upstream=http://a b_left=0 b_right=7 [^\n]*\n$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gauge_keeps_its_peak),
        cmocka_unit_test(buckets_end_at_powers_of_two),
        cmocka_unit_test(histogram_counts_and_sums),
        cmocka_unit_test(names_are_legal_and_differ),
        LOG_TEST(lines_by_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
