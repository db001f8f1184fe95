/* SPDX-License-Identifier: ISC */
/* Counts reloads. */
#include "admin/reload_stats.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static const char *result_name(unsigned index)
{
    static const char *const names[RELOAD_RESULTS] = {
        [RELOAD_SUCCESS] = "success", [RELOAD_FAILURE] = "failure"};
    return names[index];
}

static const struct metric reload_metric[] = {
    {.name = "generation",
     .help = "The number of the configuration in effect; each reload that changes it adds 1",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct reload_stats, generation),
     .count = 1,
     .log = "config_generation"},
    {.name = "last_reload_successful",
     .help = "Whether the last reload went well (1), or the configuration before it stays (0)",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct reload_stats, last_successful),
     .count = 1},
    {.name = "last_reload_success_timestamp",
     .help = "When the configuration in effect was read, in Unix time",
     .type = METRIC_GAUGE,
     .unit = METRIC_SECONDS,
     .offset = offsetof(struct reload_stats, last_success_at),
     .count = 1,
     .log = "last_reload_success_us"},
    {.name = "reloads",
     .help = "Reloads, by their result",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct reload_stats, reloads),
     .label = "result",
     .count = RELOAD_RESULTS,
     .value = result_name,
     .log = "reload_",
     .log_sum = "reloads"},
};

const struct metric_set reload_metrics = {
    .prefix = "config_", .metrics = reload_metric, .count = ARRAY_LEN(reload_metric)};

static void set_good(struct reload_stats *stats, uint64_t generation, int64_t now)
{
    gauge_set(&stats->generation, generation);
    gauge_set(&stats->last_successful, 1);
    gauge_set(&stats->last_success_at, (uint64_t)now);
    stats->failed_at = 0;
    stats->mistake_count = 0;
    stats->mistake[0] = '\0';
}

void reload_stats_start(struct reload_stats *stats, uint64_t generation, int64_t now)
{
    set_good(stats, generation, now);
}

void reload_stats_succeed(struct reload_stats *stats, uint64_t generation, int64_t now)
{
    set_good(stats, generation, now);
    counter_add(&stats->reloads[RELOAD_SUCCESS], 1);
}

void reload_stats_fail(struct reload_stats *stats, const char *mistakes, int64_t now)
{
    gauge_set_now(&stats->last_successful, 0);
    counter_add(&stats->reloads[RELOAD_FAILURE], 1);
    stats->failed_at = now;
    snprintf(stats->mistake, sizeof(stats->mistake), "%.*s", (int)strcspn(mistakes, "\n"),
             mistakes);
    stats->mistake_count = 0;
    while (*mistakes != '\0') {
        size_t length = strcspn(mistakes, "\n");
        stats->mistake_count += length > 0;
        mistakes += mistakes[length] == '\n' ? length + 1 : length;
    }
}
