/* SPDX-License-Identifier: ISC */
/* The text for Prometheus and OpenMetrics: names, types, escapes, sums; and which of the two an
 * Accept field asks for. promtool and a parser of OpenMetrics read all of it in
 * tests/check_metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "admin/exposition.h"
#include "support/admin_world.h"

static struct admin_world *world;
static struct evbuffer *out;

static int set_up(void **state)
{
    (void)state;
    world = admin_world_new();
    out = evbuffer_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    evbuffer_free(out);
    admin_world_free(world);
    return 0;
}

/* All of it, valid until the next call. */
static const char *text(bool openmetrics)
{
    evbuffer_drain(out, evbuffer_get_length(out));
    assert_int_equal(exposition_write(out, &world->ops, &world->view, openmetrics), 0);
    evbuffer_add(out, "", 1);
    return (const char *)evbuffer_pullup(out, -1);
}

static void assert_has(const char *whole, const char *part)
{
    if (strstr(whole, part) == NULL)
        fail_msg("\"%s\" is not in\n%s", part, whole);
}

static void test_text_format(void **state)
{
    (void)state;
    counter_set(&world->web_listener.accepted, UINT64_MAX);
    counter_set(&world->web_listener.bytes[1], INT64_C(9007199254740993)); /* no double has it */
    gauge_set(&world->web.connections[WORLD_BUSY], 4);
    gauge_set(&world->web.connections[WORLD_BUSY], 1);
    gauge_set(&world->process.lag, 1500);
    const char *all = text(false);
    assert_has(all,
               "# HELP kaproxy_listener_accepted_total Clients that were accepted, \"in all\",\\n"
               "with a \\\\.\n"
               "# TYPE kaproxy_listener_accepted_total counter\n"
               "kaproxy_listener_accepted_total{listener=\"web\"} 18446744073709551615\n"
               "kaproxy_listener_accepted_total{listener=\"raw\"} 0\n"
               "# HELP kaproxy_listener_bytes_total ");
    assert_has(all, "\nkaproxy_listener_bytes_total{listener=\"web\",direction=\"down\"} "
                    "9007199254740993\n");
    assert_has(all, "# TYPE kaproxy_upstream_connections gauge\n"
                    "kaproxy_upstream_connections{pool=\"default\",upstream=\"" WORLD_WEB
                    "\",state=\"busy\"} 1\n");
    assert_has(all, "# TYPE kaproxy_upstream_connections_peak gauge\n"
                    "kaproxy_upstream_connections_peak{pool=\"default\",upstream=\"" WORLD_WEB
                    "\",state=\"busy\"} 4\n");
    assert_has(all, "\nkaproxy_loop_lag_seconds 0.0015\n");
    assert_has(all, "\nkaproxy_loop_lag_peak_seconds 0.0015\n");
    assert_has(all, "# TYPE kaproxy_build_info gauge\nkaproxy_build_info{version=\"");
    assert_has(all, "\nkaproxy_listener_info{listener=\"raw\",pool=\"slow\",upstream=\"" WORLD_RAW
                    "\",protocol=\"opaque\"} 1\n");
    assert_null(strstr(all, "# EOF"));
    assert_null(strstr(all, "# UNIT"));
}

static void test_openmetrics(void **state)
{
    (void)state;
    const char *all = text(true);
    assert_has(all,
               "# HELP kaproxy_listener_accepted Clients that were accepted, \\\"in all\\\",\\n"
               "with a \\\\.\n"
               "# TYPE kaproxy_listener_accepted counter\n"
               "kaproxy_listener_accepted_total{listener=\"web\"} 0\n");
    assert_has(all, "# TYPE kaproxy_listener_bytes counter\n# UNIT kaproxy_listener_bytes bytes\n");
    assert_has(all, "# TYPE kaproxy_upstream_wait_seconds histogram\n"
                    "# UNIT kaproxy_upstream_wait_seconds seconds\n");
    assert_has(all, "# TYPE kaproxy_build info\nkaproxy_build_info{version=\"");
    assert_string_equal(all + strlen(all) - 7, "\n# EOF\n");
}

static void test_histogram(void **state)
{
#define OF "{pool=\"default\",upstream=\"" WORLD_WEB "\""
    (void)state;
    admin_world_times(&world->web.wait, 2, 100);
    admin_world_times(&world->web.wait, 1, 150);
    admin_world_times(&world->web.wait, 1, 200 * USEC_PER_SEC);
    const char *all = text(false);
    assert_has(all, "\nkaproxy_upstream_wait_seconds_bucket" OF ",le=\"0.0001\"} 2\n"
                    "kaproxy_upstream_wait_seconds_bucket" OF ",le=\"0.0002\"} 3\n"
                    "kaproxy_upstream_wait_seconds_bucket" OF ",le=\"0.0004\"} 3\n");
    assert_has(all, "\nkaproxy_upstream_wait_seconds_bucket" OF ",le=\"104.8576\"} 3\n"
                    "kaproxy_upstream_wait_seconds_bucket" OF ",le=\"+Inf\"} 4\n"
                    "kaproxy_upstream_wait_seconds_sum" OF "} 200.00035\n"
                    "kaproxy_upstream_wait_seconds_count" OF "} 4\n");
#undef OF
}

/* Two kinds of blocks may have a metric of the same name: one family, with all samples. */
static void test_family_is_in_one_place(void **state)
{
    struct metric_set other = *world->blocks[WORLD_BLOCK_WEB_LISTENER].set;
    struct metric_block blocks[] = {world->blocks[WORLD_BLOCK_WEB_LISTENER],
                                    world->blocks[WORLD_BLOCK_WEB],
                                    world->blocks[WORLD_BLOCK_RAW_LISTENER]};
    (void)state;
    blocks[2].set = &other;
    world->view.blocks = blocks;
    world->view.block_count = ARRAY_LEN(blocks);
    const char *all = text(false);
    assert_has(all, "kaproxy_listener_accepted_total{listener=\"web\"} 0\n"
                    "kaproxy_listener_accepted_total{listener=\"raw\"} 0\n");
    const char *first = strstr(all, "# TYPE kaproxy_listener_accepted_total");
    assert_null(strstr(first + 1, "# TYPE kaproxy_listener_accepted_total"));
}

static void test_label_is_escaped(void **state)
{
    struct metric_block block = world->blocks[WORLD_BLOCK_WEB_LISTENER];
    (void)state;
    block.labels.listener = "a\"b\\c\nd";
    world->view.blocks = &block;
    world->view.block_count = 1;
    assert_has(text(false), "kaproxy_listener_accepted_total{listener=\"a\\\"b\\\\c\\nd\"} 0\n");
}

/* The system's numbers for this process: plausible, and counted at each call. */
static void test_process(void **state)
{
    unsigned long before, after;
    (void)state;
    const char *at = strstr(text(false), "\nprocess_open_fds ");
    assert_non_null(at);
    before = strtoul(at + strlen("\nprocess_open_fds "), NULL, 10);
    int fd = dup(1);
    at = strstr(text(false), "\nprocess_open_fds ");
    after = strtoul(at + strlen("\nprocess_open_fds "), NULL, 10);
    close(fd);
    assert_int_equal(after, before + 1);
    assert_has(text(false), "\nprocess_cpu_seconds_total 0.");
    assert_has(text(false), "\nprocess_resident_memory_bytes ");
    assert_has(text(false), "\nprocess_start_time_seconds 1");
}

static unsigned until_failure;

static void *short_malloc(size_t size)
{
    if (until_failure > 0 && --until_failure == 0)
        return NULL;
    return malloc(size);
}

static void *short_realloc(void *memory, size_t size)
{
    if (until_failure > 0 && --until_failure == 0)
        return NULL;
    return realloc(memory, size);
}

/* Nothing is appended then, and the existing text is unchanged. */
static void test_shortage(void **state)
{
    unsigned nth = 1;
    (void)state;
    evbuffer_add(out, "x", 1);
    for (;; nth++) {
        until_failure = nth;
        int result = exposition_write(out, &world->ops, &world->view, true);
        bool came = until_failure == 0;
        until_failure = 0;
        if (!came)
            break;
        assert_int_equal(result, -1);
        assert_int_equal(evbuffer_get_length(out), 1);
    }
    assert_true(nth > 3);
    assert_true(evbuffer_get_length(out) > 1000);
}

static void test_accept(void **state)
{
    static const struct {
        const char *accept;
        bool openmetrics;
    } rows[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
        /* Prometheus 2.42 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
         "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         true},
        /* Prometheus 3 */
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
         "application/openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,"
         "*/*;q=0.1",
         true},
        /* Prometheus 3, scrape_protocols: [PrometheusText0.0.4] */
        {"text/plain;version=0.0.4;q=0.5,*/*;q=0.4", false},
        /* Prometheus with native histograms */
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
         "delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3",
         true},
        {"application/openmetrics-text", true},
        {"Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=1", true},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text;q=0.000,*/*", false},
        {"application/openmetrics-text;version=2.0.0", false},
        {"application/openmetrics-text;q=0.4,text/plain;q=0.5", false},
        {"application/openmetrics-text;q=0.5,text/plain;q=0.5", true},
        {"text/plain, application/openmetrics-text;q=0.9", false},
        {"application/openmetrics-text;q=0.5,text/*;q=0.6", false},
        {"application/openmetrics-text;q=0.5,text/plain;q=0.4,*/*;q=0.9", true},
        {"application/openmetrics-text;q=0.1;q=oops", true},
        {";;;,,;q=,application/openmetrics-textual,\"", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (exposition_wants_openmetrics(rows[i].accept) != rows[i].openmetrics)
            fail_msg("%s", rows[i].accept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text_format, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_openmetrics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_histogram, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_family_is_in_one_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_label_is_escaped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shortage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_accept, set_up, tear_down),
    };
    event_set_mem_functions(short_malloc, short_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
