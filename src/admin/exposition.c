/* SPDX-License-Identifier: ISC */
/* Families, samples and their labels, in either format. */
#include "admin/exposition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/names.h"
#include "admin/process_figures.h"
#include "config-build.h"

/* Kinds of blocks: a few for each layer of the program. */
#define SETS_MAX 32

#define NAME_MAX_LENGTH 160

/* One text being written. */
struct text {
    struct evbuffer *out;
    bool openmetrics;
    bool failed; /* out of memory */
};

static void put(struct text *text, const char *bytes, size_t length)
{
    if (evbuffer_add(text->out, bytes, length) < 0)
        text->failed = true;
}

static void put_text(struct text *text, const char *bytes)
{
    put(text, bytes, strlen(bytes));
}

static PRINTF(2, 3) void put_format(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (evbuffer_add_vprintf(text->out, format, args) < 0)
        text->failed = true;
    va_end(args);
}

/* With quotes escaped, where they are special. */
static void put_escaped(struct text *text, const char *value, bool quotes)
{
    const char *special = quotes ? "\\\n\"" : "\\\n";
    while (*value != '\0') {
        size_t plain = strcspn(value, special);
        put(text, value, plain);
        value += plain;
        if (*value == '\0')
            break;
        put_text(text, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\");
        value++;
    }
}

/* Labels, in braces if there are any. */

struct labels {
    struct text *text;
    bool any;
};

static void put_label(struct labels *labels, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_format(labels->text, "%s%s=\"", labels->any ? "," : "{", name);
    put_escaped(labels->text, value, true);
    put_text(labels->text, "\"");
    labels->any = true;
}

static void put_labels_end(struct labels *labels)
{
    put_text(labels->text, labels->any ? "} " : " ");
}

/* Seconds are exact, without trailing zeros; in memory they are microseconds. */
static const char *format_seconds(char text[32], uint64_t time)
{
    uint64_t second = (uint64_t)USEC_PER_SEC;
    int n = snprintf(text, 32, "%" PRIu64 ".%06" PRIu64, time / second, time % second);
    while (n > 0 && text[n - 1] == '0')
        n--;
    if (n > 0 && text[n - 1] == '.')
        n--;
    text[n] = '\0';
    return text;
}

static void put_value(struct text *text, enum metric_unit unit, uint64_t value)
{
    char seconds[32];
    if (unit == METRIC_SECONDS)
        put_format(text, "%s\n", format_seconds(seconds, value));
    else
        put_format(text, "%" PRIu64 "\n", value);
}

/* Families. */

struct family {
    char name[NAME_MAX_LENGTH]; /* without _total */
    const char *type;
    const char *unit;          /* "": none */
    const char *help, *before; /* the sentence, and what precedes it */
};

static const char *const units[] = {
    [METRIC_NUMBER] = "", [METRIC_BYTES] = "bytes", [METRIC_SECONDS] = "seconds"};

static const char *const types[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

/* If the metric's name is its unit, the unit is not repeated. */
static void name_family(struct family *family, const struct metric_set *set,
                        const struct metric *metric, const char *peak)
{
    const char *unit = units[metric->unit];
    bool add = unit[0] != '\0' && strcmp(metric->name, unit) != 0;
    snprintf(family->name, sizeof(family->name), "kaproxy_%s%s%s%s%s", set->prefix, metric->name,
             peak, add ? "_" : "", add ? unit : "");
}

/* In the text format a counter's family is named like its samples, and there is no type info. */
static void put_family(struct text *text, const struct family *family)
{
    const char *type = family->type, *suffix = "";
    if (!text->openmetrics && strcmp(type, "counter") == 0)
        suffix = "_total";
    if (strcmp(type, "info") == 0 && !text->openmetrics) {
        suffix = "_info";
        type = "gauge";
    }
    put_format(text, "# HELP %s%s ", family->name, suffix);
    put_escaped(text, family->before, text->openmetrics);
    put_escaped(text, family->help, text->openmetrics);
    put_format(text, ".\n# TYPE %s%s %s\n", family->name, suffix, type);
    if (text->openmetrics && family->unit[0] != '\0')
        put_format(text, "# UNIT %s %s\n", family->name, family->unit);
}

/* Samples. */

/* One value of a metric's label, in one block. */
struct sample {
    const char *family;
    const struct metric *metric;
    const struct metric_block *block;
    unsigned index;
};

static void put_sample_labels(struct text *text, const struct sample *sample, const char *le)
{
    const struct metric_labels *of = &sample->block->labels;
    const struct metric *metric = sample->metric;
    struct labels labels = {.text = text};
    put_label(&labels, "listener", of->listener);
    put_label(&labels, "pool", of->pool);
    put_label(&labels, "upstream", of->upstream);
    put_label(&labels, "tls", of->tls);
    if (metric->label != NULL)
        put_label(&labels, metric->label, metric->value(sample->index));
    put_label(&labels, "le", le);
    put_labels_end(&labels);
}

static void put_sample(struct text *text, const struct sample *sample, const char *suffix,
                       uint64_t value)
{
    put_format(text, "%s%s", sample->family, suffix);
    put_sample_labels(text, sample, NULL);
    put_value(text, sample->metric->unit, value);
}

static void put_bucket(struct text *text, const struct sample *sample, const char *le,
                       uint64_t count)
{
    put_format(text, "%s_bucket", sample->family);
    put_sample_labels(text, sample, le);
    put_value(text, METRIC_NUMBER, count);
}

/* The count is the sum of the buckets as they were read, so that the two agree. */
static void put_histogram(struct text *text, const struct sample *sample)
{
    const struct histogram *histogram =
        metric_at(sample->metric, sample->block->block, sample->index);
    uint64_t count = 0;
    char le[32];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += counter_get(&histogram->buckets[i]);
        put_bucket(text, sample,
                   i < HISTOGRAM_LIMITS ? format_seconds(le, (uint64_t)histogram_limit(i)) : "+Inf",
                   count);
    }
    put_sample(text, sample, "_sum", counter_get(&histogram->sum));
    put_format(text, "%s_count", sample->family);
    put_sample_labels(text, sample, NULL);
    put_value(text, METRIC_NUMBER, count);
}

static void put_number(struct text *text, const struct sample *sample, bool peak)
{
    const void *at = metric_at(sample->metric, sample->block->block, sample->index);
    switch (sample->metric->type) {
    case METRIC_COUNTER:
        put_sample(text, sample, "_total", counter_get(at));
        break;
    case METRIC_GAUGE:
        put_sample(text, sample, "",
                   peak ? counter_get(&((const struct gauge *)at)->peak) : gauge_get(at));
        break;
    case METRIC_HISTOGRAM:
        put_histogram(text, sample);
        break;
    }
}

/* All blocks. */

/* The distinct sets. */
struct sets {
    const struct metric_set *list[SETS_MAX];
    size_t count;
};

static size_t find_set(const struct sets *sets, const struct metric_set *set)
{
    size_t i = 0;
    while (i < sets->count && sets->list[i] != set)
        i++;
    return i;
}

/* -1 with E2BIG if there are too many. */
static int collect_sets(struct sets *sets, const struct metric_block *blocks, size_t count)
{
    sets->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (find_set(sets, blocks[i].set) < sets->count)
            continue;
        if (sets->count == SETS_MAX) {
            errno = E2BIG;
            return -1;
        }
        sets->list[sets->count++] = blocks[i].set;
    }
    return 0;
}

/* The metric of a set that has the same name as another set's. */
static const struct metric *find_same(const struct metric_set *set, const struct metric_set *other,
                                      const struct metric *metric)
{
    if (set != other && strcmp(set->prefix, other->prefix) != 0)
        return NULL;
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->metrics[i].name, metric->name) == 0)
            return &set->metrics[i];
    }
    return NULL;
}

static void put_samples(struct text *text, const struct admin_view *view, const struct sets *sets,
                        const struct metric *const in_set[SETS_MAX], const struct family *family,
                        bool peak)
{
    for (size_t i = 0; i < view->block_count; i++) {
        struct sample sample = {.family = family->name,
                                .block = &view->blocks[i],
                                .metric = in_set[find_set(sets, view->blocks[i].set)]};
        for (; sample.metric != NULL && sample.index < sample.metric->count; sample.index++)
            put_number(text, &sample, peak);
    }
}

/* A metric that is also in an earlier set was written along with that one. */
static void put_metric(struct text *text, const struct admin_view *view, const struct sets *sets,
                       size_t set, const struct metric *metric)
{
    const struct metric *in_set[SETS_MAX] = {NULL};
    struct family family = {.type = types[metric->type],
                            .unit = units[metric->unit],
                            .help = metric->help,
                            .before = ""};
    for (size_t i = 0; i < sets->count; i++) {
        in_set[i] = find_same(sets->list[i], sets->list[set], metric);
        if (in_set[i] != NULL && i < set)
            return;
    }
    name_family(&family, sets->list[set], metric, "");
    put_family(text, &family);
    put_samples(text, view, sets, in_set, &family, false);
    if (metric->type != METRIC_GAUGE)
        return;
    name_family(&family, sets->list[set], metric, "_peak");
    family.before = "The most since the start: ";
    put_family(text, &family);
    put_samples(text, view, sets, in_set, &family, true);
}

static int put_blocks(struct text *text, const struct admin_view *view)
{
    struct sets sets;
    if (collect_sets(&sets, view->blocks, view->block_count) < 0)
        return -1;
    for (size_t set = 0; set < sets.count; set++) {
        for (size_t i = 0; i < sets.list[set]->count; i++)
            put_metric(text, view, &sets, set, &sets.list[set]->metrics[i]);
    }
    return 0;
}

/* What is not in any block. */

static void put_single(struct text *text, const char *name, const char *type, enum metric_unit unit,
                       const char *help, int64_t value)
{
    struct family family = {.type = type, .unit = units[unit], .help = help, .before = ""};
    if (value < 0)
        return;
    snprintf(family.name, sizeof(family.name), "%s", name);
    put_family(text, &family);
    put_format(text, "%s%s ", name, strcmp(type, "counter") == 0 ? "_total" : "");
    put_value(text, unit, (uint64_t)value);
}

static void put_process(struct text *text, const struct admin_ops *ops)
{
    struct process_figures figures;
    process_figures_read(&figures);
    put_single(text, "process_cpu_seconds", "counter", METRIC_SECONDS,
               "Processor time that all threads have used", figures.cpu);
    put_single(text, "process_resident_memory_bytes", "gauge", METRIC_BYTES,
               "Memory that is resident", figures.resident);
    put_single(text, "process_open_fds", "gauge", METRIC_NUMBER, "Descriptors that are open",
               figures.open_fds);
    put_single(text, "process_max_fds", "gauge", METRIC_NUMBER,
               "Descriptors that may be open (the limit in effect)", figures.max_fds);
    put_single(text, "process_start_time_seconds", "gauge", METRIC_SECONDS,
               "When the process was started, in Unix time", ops->started_at);
}

static void put_info(struct text *text, const char *name, const char *help)
{
    struct family family = {.type = "info", .unit = "", .help = help, .before = ""};
    snprintf(family.name, sizeof(family.name), "%s", name);
    put_family(text, &family);
}

static void put_build(struct text *text)
{
    struct labels labels = {.text = text};
    put_info(text, "kaproxy_build", "What was built");
    put_text(text, "kaproxy_build_info");
    put_label(&labels, "version", PACKAGE_VERSION);
    put_labels_end(&labels);
    put_text(text, "1\n");
}

static void put_listeners(struct text *text, const struct config *config)
{
    char upstream[ENDPOINT_TEXT_MAX];
    put_info(text, "kaproxy_listener", "What a listener is for");
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        struct labels labels = {.text = text};
        put_text(text, "kaproxy_listener_info");
        put_label(&labels, "listener", listener->name);
        put_label(&labels, "pool", names_of_pool(&config->pools[listener->pool]));
        put_label(&labels, "upstream", endpoint_format(&listener->upstream, upstream));
        put_label(&labels, "protocol", names_of_protocol(listener));
        put_labels_end(&labels);
        put_text(text, "1\n");
    }
}

int exposition_write(struct evbuffer *out, const struct admin_ops *ops,
                     const struct admin_view *view, bool openmetrics)
{
    struct text text = {.out = evbuffer_new(), .openmetrics = openmetrics};
    int result = -1;
    if (text.out == NULL)
        goto out;
    put_build(&text);
    put_process(&text, ops);
    put_listeners(&text, view->config);
    if (put_blocks(&text, view) < 0)
        goto out;
    if (openmetrics)
        put_text(&text, "# EOF\n");
    errno = ENOMEM;
    if (!text.failed)
        result = evbuffer_add_buffer(out, text.out);

out:
    if (text.out != NULL)
        evbuffer_free(text.out);
    return result;
}
