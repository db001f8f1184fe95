/* SPDX-License-Identifier: ISC */
/* The status page: escaping, what is shown of problems, what is missing, many hosts, no memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "admin/page_internal.h"

static int allocations_left = -1; /* until one fails, and all after it; -1: none does */
static size_t allocated;          /* blocks of libevent's */

static bool may_allocate(void)
{
    if (allocations_left < 0)
        return true;
    if (allocations_left == 0)
        return false;
    allocations_left--;
    return true;
}

static void *count_malloc(size_t size)
{
    void *block = may_allocate() ? malloc(size) : NULL;
    allocated += block != NULL;
    return block;
}

static void *count_realloc(void *old, size_t size)
{
    void *block = may_allocate() ? realloc(old, size) : NULL;
    allocated += old == NULL && block != NULL;
    return block;
}

static void count_free(void *block)
{
    allocated -= block != NULL;
    free(block);
}

static char *text_of(struct evbuffer *out)
{
    size_t length = evbuffer_get_length(out);
    char *text = malloc(length + 1);
    assert_non_null(text);
    assert_int_equal(evbuffer_remove(out, text, length), length);
    text[length] = '\0';
    return text;
}

/* The page of a status, which is freed; to be freed. */
static char *render(json_t *status)
{
    struct evbuffer *out = evbuffer_new();
    assert_non_null(status);
    assert_int_equal(page_write(out, status), 0);
    char *text = text_of(out);
    evbuffer_free(out);
    json_decref(status);
    return text;
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_ALLOW_NUL, &error);
    if (value == NULL)
        fail_msg("%s: %s", text, error.text);
    return value;
}

static void assert_has(const char *page, const char *text)
{
    if (strstr(page, text) == NULL)
        fail_msg("'%s' is not in: %s", text, page);
}

static void assert_lacks(const char *page, const char *text)
{
    if (strstr(page, text) != NULL)
        fail_msg("'%s' is in: %s", text, page);
}

static size_t count_of(const char *page, const char *text)
{
    size_t count = 0;
    for (; (page = strstr(page, text)) != NULL; page += strlen(text))
        count++;
    return count;
}

static void test_nothing_is_wrong(void **state)
{
    (void)state;
    char *page = render(parse(
        "{\"problems\": [], \"kaproxy\": {\"version\": \"1.2.3\", \"pid\": 7, \"now\": 86400.5,"
        " \"uptime\": 90061, \"state\": \"serving\", \"config\": \"/etc/kaproxy.ini\","
        " \"config_read\": 86399, \"reload_failed\": null}}"));
    assert_has(page, "<title>No problems - kaproxy</title>");
    assert_has(page, "class=\"well\"><h1>No problems</h1></section>");
    assert_has(page, "kaproxy 1.2.3</h2>");
    assert_has(page, "serving</b>, up 1 d 1 h, process 7, ");
    assert_has(page, "/etc/kaproxy.ini</span>, read <time>1970-01-01 23:59:59 UTC</time>. ");
    assert_lacks(page, "reload failed");
    assert_has(page, "1970-01-02 00:00:00 UTC");
    free(page);
}

static void test_reload_failed(void **state)
{
    (void)state;
    char *page = render(parse("{\"kaproxy\": {\"now\": 86400.5, \"config_read\": 86399,"
                              " \"reload_failed\": {\"at\": 86400, \"text\": \"a\"}}}"));
    assert_has(page, "UTC</time> (<b class=\"badge bad\">the last reload failed</b>). Figures");
    free(page);
}

static void test_severities(void **state)
{
    static const struct {
        const char *severities[3];
        const char *headline, *class;
    } rows[] = {
        {{"notice"}, "No problems", "well"},
        {{"warning"}, "1 problem", "warning"},
        {{"critical"}, "1 problem", "critical"},
        {{"critical", "warning", "notice"}, "2 problems", "critical"},
        {{"warning", "notice"}, "1 problem", "warning"},
        {{"of its own"}, "1 problem", "warning"},
    };
    char expected[128];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *problems = json_array();
        for (size_t j = 0; j < 3 && rows[i].severities[j] != NULL; j++)
            json_array_append_new(problems,
                                  json_pack("{s:s, s:s, s:s}", "severity", rows[i].severities[j],
                                            "code", "a_code", "text", "What is wrong"));
        char *page = render(json_pack("{s:o}", "problems", problems));
        snprintf(expected, sizeof(expected), "<section id=\"problems\" class=\"%s\"><h1>%s</h1>",
                 rows[i].class, rows[i].headline);
        assert_has(page, expected);
        snprintf(expected, sizeof(expected), "<title>%s - kaproxy</title>", rows[i].headline);
        assert_has(page, expected);
        snprintf(expected, sizeof(expected), "<b>%s</b> <span class=\"text\">What is wrong</span>",
                 rows[i].severities[0]);
        assert_has(page, expected);
        free(page);
    }
}

/* A problem leads to the row of what it is about, by all of its labels. */
static void test_links(void **state)
{
    struct page_anchor first, second;
    (void)state;
    json_t *status = parse(
        "{\"problems\": [{\"code\": \"a\", \"pool\": \"p\", \"upstream\": \"u\", \"tls\": \"t\"},"
        " {\"code\": \"b\", \"listener\": \"l\"}, {\"code\": \"c\"}],"
        " \"hosts\": [{\"pool\": \"p\", \"upstream\": \"u\"},"
        " {\"pool\": \"p\", \"upstream\": \"u\", \"tls\": \"t\"}],"
        " \"listeners\": [{\"name\": \"l\"}]}");
    const json_t *hosts = json_object_get(status, "hosts");
    first = page_host_anchor(json_array_get(hosts, 0));
    second = page_host_anchor(json_array_get(hosts, 1));
    assert_string_not_equal(first.text, second.text);
    char *page = render(status), expected[96];
    snprintf(expected, sizeof(expected), "<a href=\"#%s\" class=\"code\">a</a>", second.text);
    assert_has(page, expected);
    snprintf(expected, sizeof(expected), "<tbody id=\"%s\">", second.text);
    assert_has(page, expected);
    const char *link = strstr(page, "<a href=\"#l");
    assert_non_null(link);
    snprintf(expected, sizeof(expected), "<tbody id=\"%.17s\">", link + strlen("<a href=\"#"));
    assert_has(page, expected);
    assert_has(page, "<span class=\"code\">c</span>");
    free(page);
}

static void test_many_problems_are_folded(void **state)
{
    (void)state;
    json_t *problems = json_array();
    for (int i = 0; i < 25; i++)
        json_array_append_new(problems,
                              json_pack("{s:s, s:s}", "severity", "critical", "text", "x"));
    char *page = render(json_pack("{s:o}", "problems", problems));
    assert_has(page, "<title>25 problems - kaproxy</title>");
    assert_has(page, "</ul><details id=\"others\"><summary>5 more</summary><ul>");
    assert_int_equal(count_of(page, "<li class=\"critical\">"), 25);
    free(page);
}

static void put(const char *text, size_t length, const char *expected)
{
    struct page page = {.out = evbuffer_new()};
    page_put_text(&page, text, length);
    char *got = text_of(page.out);
    assert_string_equal(got, expected);
    free(got);
    evbuffer_free(page.out);
}

#define R "&#xfffd;"

static void test_escaping(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},
        {"plain text, 1 2 3", "plain text, 1 2 3"},
        {"<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"},
        {"\" onload=\"", "&quot; onload=&quot;"},
        {"&lt;", "&amp;lt;"},
        {"a\tb\nc\rd", "a b c d"},
        {"\x01\x1b[1m\x7f", R R "[1m" R},
        {"\xc2\x85", R}, /* a C1 control */
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff\xfe", R R},
        {"\xc0\xaf", R R},       /* overlong '/' */
        {"\xed\xa0\x80", R R R}, /* a surrogate */
        {"\xe2\x82", R R},       /* truncated */
        {"\xe2\x80\xae"
         "evil\xe2\x81\xa6",
         R "evil" R}, /* direction */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        put(rows[i].text, strlen(rows[i].text), rows[i].expected);
    put("a\0b", 3, "a" R "b");
}

/* Each existing text, anywhere. */
static const char *const spoiled[] = {"<script>alert(1)</script>", "\"'><img src=x>",
                                      "</main></title><!--"};
static size_t spoiled_count;

static json_t *spoil(json_t *value)
{
    const char *key;
    json_t *inner;
    size_t i;
    if (json_is_string(value) && spoiled_count++ % 4 < 3)
        return json_string(spoiled[spoiled_count % 3]);
    if (json_is_string(value))
        return json_stringn_nocheck("\xff<\xc3", 3);
    if (json_is_object(value)) {
        json_t *object = json_object();
        json_object_foreach(value, key, inner) json_object_set_new(object, key, spoil(inner));
        json_object_set_new(object, "<b>\"key'", json_integer(1));
        return object;
    }
    if (!json_is_array(value))
        return json_incref(value);
    json_t *array = json_array();
    json_array_foreach(value, i, inner) json_array_append_new(array, spoil(inner));
    return array;
}

static const char whole[] =
    "{\"kaproxy\": {\"version\": \"v\", \"pid\": 1, \"now\": 1000.0, \"uptime\": 5, \"state\": "
    "\"s\","
    "   \"config\": \"c\"},"
    " \"loop\": {\"lag\": 0.25, \"answers\": false, \"snapshot_age\": 7.0},"
    " \"problems\": [{\"severity\": \"critical\", \"code\": \"c\", \"listener\": \"l\", \"text\": "
    "\"t\"},"
    "   {\"severity\": \"notice\", \"code\": \"c\", \"pool\": \"p\", \"upstream\": \"u\", "
    "\"text\": \"t\"}],"
    " \"process\": {\"clients\": 12, \"max_clients\": 10000, \"log_lines_lost\": {\"access\": 3}},"
    " \"listeners\": [{\"name\": \"n\", \"addresses\": [\"a\", \"b\"], \"upstream\": \"u\","
    "   \"pool\": \"p\", \"protocol\": \"http\", \"state\": \"paused\", \"oldest_session\": 65.0,"
    "   \"metrics\": {\"sessions\": 3, \"bytes\": {\"up\": 1500, \"down\": 2500000},"
    "     \"ends\": {\"complete\": 9, \"client_left\": 8, \"alloc_failed\": 7, \"upstream_reset\": "
    "2}},"
    "   \"peaks\": {\"sessions\": 44}, \"rates\": {\"accepted\": 0.5, \"exchange\": 12000.0,"
    "     \"bytes\": 1e6}, \"exchange\": {\"p50\": 0.0123, \"p99\": 4.5}}],"
    " \"hosts\": [{\"pool\": \"p\", \"upstream\": \"u\", \"state\": \"draining\", \"down\": true,"
    "   \"down_since\": 700, \"oldest_wait\": 3.5, \"limits\": {\"max_per_host\": 10},"
    "   \"metrics\": {\"connections\": {\"busy\": 5, \"held\": 2, \"connecting\": 1, \"idle\": 1},"
    "     \"waiting\": 30, \"discards\": {\"keep_alive\": 3, \"max_age\": 0}, \"wait\":"
    "     {\"count\": 10, \"sum\": 2.0}}, \"peaks\": {\"waiting\": 31}, \"rates\": {\"grants\": "
    "1234.0,"
    "     \"dials\": 0.25, \"failures\": 2.0}, \"reuse\": 0.975, \"wait\": {\"p50\": 0.0002, "
    "\"p99\": 90},"
    "   \"connect\": {\"p50\": 0.001, \"p99\": 0.5}, \"last_error\": {\"text\": \"Connection "
    "refused\","
    "     \"function\": \"connect\", \"errno\": 111, \"at\": 880.0}}],"
    " \"pools\": [{\"name\": \"p\", \"limits\": {\"max_open\": 20, \"timeout\": 90.0, \"max_age\": "
    "0.0},"
    "   \"connections\": {\"busy\": 5, \"held\": 2, \"connecting\": 1, \"idle\": 1}, \"waiting\": "
    "30},"
    "   {\"name\": \"q\"}]}";

static void test_spoiled_texts(void **state)
{
    (void)state;
    json_t *status = parse(whole);
    char *plain = render(json_deep_copy(status));
    char *page = render(spoil(status));
    assert_lacks(page, "<script>alert");
    assert_lacks(page, "<img");
    assert_lacks(page, "<!--");
    assert_lacks(page, "<b>\"key");
    assert_lacks(page, "\xff");
    assert_has(page, "&lt;b&gt;&quot;key&#39;");
    assert_int_equal(count_of(page, "</main>"), 1);
    assert_int_equal(count_of(page, "</title>"), count_of(plain, "</title>"));
    assert_int_equal(count_of(page, "<tbody"), count_of(plain, "<tbody"));
    json_decref(status);
    free(plain);
    free(page);
}

static void test_host(void **state)
{
    (void)state;
    char *page = render(parse(whole));
    assert_has(page, "<b class=\"badge\">draining</b> <b class=\"badge bad\">down for 5 min</b>"
                     " <small>pool p</small></th>");
    assert_has(page, "<rect class=\"track\" width=\"100\" height=\"8\"/>"
                     "<rect class=\"busy\" x=\"0\" width=\"50\" height=\"8\"/>"
                     "<rect class=\"connecting\" x=\"50\" width=\"10\" height=\"8\"/>"
                     "<rect class=\"idle\" x=\"60\" width=\"10\" height=\"8\"/>"
                     "<rect class=\"held\" x=\"102\" width=\"20\" height=\"8\"/>"
                     "<rect class=\"waiting\" x=\"122\" width=\"5\" height=\"8\"/></svg>");
    assert_int_equal(count_of(page, "5 busy, 1 connecting, 1 idle of 10; 2 held; 30 waiting</"), 2);
    assert_has(page, "<b>30</b> <small>oldest 3.5 s</small></td>");
    assert_has(page,
               "\"Grants/s\">1.2k</td><td data-title=\"Dials/s\">0.25</td>"
               "<td data-title=\"Failures/s\"><b>2</b></td><td data-title=\"Reuse\">98 %</td>"
               "<td data-title=\"Wait p50\">0.2 ms</td><td data-title=\"Wait p99\">90 s</td>");
    assert_has(page, "<p class=\"error\">Last error 2 min ago: connect: <span>Connection refused<");
    assert_has(page, "<dt>discards</dt><dd>keep_alive&nbsp;3</dd>");
    assert_has(page, "<dt>wait</dt><dd>10, mean 200 ms</dd>");
    assert_has(page, "<dt>waiting</dt><dd>30 <small>peak 31</small></dd>");
    assert_has(page,
               "<b class=\"badge bad\">the loop does not answer</b>, what it told last is 7 s");
    free(page);
}

static void test_listener_pool_process(void **state)
{
    (void)state;
    char *page = render(parse(whole));
    assert_has(page, "<b class=\"badge\">paused</b> <small>a, b &rarr; u, pool p</small>");
    assert_has(page, "\"Sessions\">3 <small>peak 44</small></td><td data-title=\"Oldest\">65 s</td>"
                     "<td data-title=\"Accepted/s\">0.5</td><td data-title=\"Exchanges/s\">12k</td>"
                     "<td data-title=\"Time p50\">12 ms</td><td data-title=\"Time p99\">4.5 s</td>"
                     "<td data-title=\"Failed\">9</td><td data-title=\"Bytes/s\">1 MB</td>");
    assert_has(page, "Ended badly since the start: alloc_failed&nbsp;7, upstream_reset&nbsp;2</p>");
    assert_has(page, "http, 1.5 kB up and 2.5 MB down since the start");
    assert_has(page, "5 busy, 1 connecting, 1 idle, 2 held of 20</span>");
    assert_has(page, "<dt>timeout</dt><dd>90 s</dd>");
    assert_has(page, "<dt>Clients</dt><dd>12 of 10000</dd>");
    assert_has(page, "<dt>Access log lines lost</dt><dd><b class=\"bad\">3</b></dd>");
    assert_has(page, "<dt>Loop lag</dt><dd>250 ms</dd>");
    free(page);
}

/* The number is newer than what the loop has reported. */
static void test_down_by_number(void **state)
{
    (void)state;
    char *page = render(parse("{\"hosts\": [{\"down\": false, \"metrics\": {\"down\": 1}}]}"));
    assert_has(page, "class=\"down\"");
    assert_has(page, "<b class=\"badge bad\">down</b>");
    free(page);
}

/* An old error is not highlighted. */
static void test_old_error(void **state)
{
    (void)state;
    char *page = render(parse("{\"kaproxy\": {\"now\": 9000}, \"hosts\": [{\"last_error\":"
                              " {\"text\": \"x\", \"at\": 1000}}]}"));
    assert_has(page, "<p>Last error 2 h 13 min ago: &ndash;: <span>x</span></p>");
    free(page);
}

/* Whatever is missing, or something other than it should be. */
static void test_missing(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "null",
        "{\"kaproxy\": null, \"problems\": null, \"hosts\": null, \"listeners\": null}",
        "{\"kaproxy\": [], \"problems\": 3, \"hosts\": \"x\", \"listeners\": {\"a\": 1}, "
        "\"pools\": 2.5}",
        "{\"problems\": [null, 1, []], \"hosts\": [null, {}, []], \"listeners\": [null, {}],"
        " \"pools\": [null, {\"limits\": []}], \"process\": [1]}",
        "{\"hosts\": [{\"metrics\": {\"connections\": [], \"waiting\": null, \"x\": {}}, "
        "\"peaks\": 1,"
        " \"rates\": null, \"limits\": {\"max_per_host\": 0}, \"last_error\": {}, \"reuse\": "
        "null}]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_error_t error;
        char *page = render(json_loads(texts[i], JSON_DECODE_ANY, &error));
        assert_has(page, "</main>");
        assert_lacks(page, "nan");
        assert_lacks(page, "(null)");
        free(page);
    }
    struct evbuffer *out = evbuffer_new();
    assert_int_equal(page_write(out, NULL), 0);
    char *page = text_of(out);
    assert_has(page, "<h1>Problems are unknown</h1>");
    free(page);
    evbuffer_free(out);
}

static void test_numbers(void **state)
{
    static const struct {
        void (*put)(struct page *, double);
        double number;
        const char *text;
    } rows[] = {
        {page_put_number, NAN, "&ndash;"},
        {page_put_number, 0, "0"},
        {page_put_number, 0.001, "&lt;0.01"},
        {page_put_number, 0.25, "0.25"},
        {page_put_number, 1, "1"},
        {page_put_number, 1.5, "1.5"},
        {page_put_number, 9.96, "10"},
        {page_put_number, 999, "999"},
        {page_put_number, 999.7, "1.0k"},
        {page_put_number, 1000, "1k"},
        {page_put_number, 1234, "1.2k"},
        {page_put_number, 45678, "46k"},
        {page_put_number, 1e6, "1M"},
        {page_put_number, 18446744073709551615.0, "18446744T"},
        {page_put_exact, NAN, "&ndash;"},
        {page_put_exact, 12345, "12345"},
        {page_put_bytes, 0, "0 B"},
        {page_put_bytes, 1500, "1.5 kB"},
        {page_put_bytes, 9876543210, "9.9 GB"},
        {page_put_span, NAN, "&ndash;"},
        {page_put_span, INFINITY, "&ndash;"},
        {page_put_span, 0, "0"},
        {page_put_span, -1, "0"},
        {page_put_span, 0.00001, "&lt;0.1 ms"},
        {page_put_span, 0.0001, "0.1 ms"},
        {page_put_span, 0.0123, "12 ms"},
        {page_put_span, 0.9999, "1.0 s"},
        {page_put_span, 12.4, "12 s"},
        {page_put_span, 119, "119 s"},
        {page_put_span, 120, "2 min"},
        {page_put_span, 7199, "119 min"},
        {page_put_span, 7200, "2 h"},
        {page_put_span, 11520, "3 h 12 min"},
        {page_put_span, 86400, "1 d"},
        {page_put_span, 273600, "3 d 4 h"},
        {page_put_span, 86400.0 * 365, "365 d"},
        {page_put_share, NAN, "&ndash;"},
        {page_put_share, 0, "0 %"},
        {page_put_share, 0.974, "97 %"},
        {page_put_share, 0.9999, "99.9 %"},
        {page_put_share, 1, "100 %"},
        {page_put_moment, NAN, "&ndash;"},
        {page_put_moment, 1e300, "&ndash;"},
        {page_put_moment, 1795000000.9, "2026-11-18 11:06:40 UTC"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct page page = {.out = evbuffer_new()};
        rows[i].put(&page, rows[i].number);
        char *text = text_of(page.out);
        assert_string_equal(text, rows[i].text);
        free(text);
        evbuffer_free(page.out);
    }
}

#define HOSTS 2000

static void test_many_hosts(void **state)
{
    char name[256];
    (void)state;
    json_t *status = parse(whole), *hosts = json_object_get(status, "hosts");
    memset(name, 'x', sizeof(name));
    for (int i = 1; i < HOSTS; i++) {
        json_t *host = json_deep_copy(json_array_get(hosts, 0));
        snprintf(name + 245, sizeof(name) - 245, "%05d", i);
        json_object_set_new(host, "upstream", json_string(name));
        json_array_append_new(hosts, host);
    }
    char *page = render(status);
    assert_int_equal(count_of(page, "<tbody id=\"h"), HOSTS);
    assert_in_range(strlen(page), HOSTS * 1000, HOSTS * 4096);
    assert_has(page, name);
    free(page);
}

/* Wherever memory ends: nothing is appended, and nothing is left behind. */
static void test_no_memory(void **state)
{
    (void)state;
    json_t *status = parse(whole);
    int result = -1, tries = 0;
    while (result < 0) {
        struct evbuffer *out = evbuffer_new();
        size_t before = allocated;
        allocations_left = tries++;
        result = page_write(out, status);
        allocations_left = -1;
        if (result < 0) {
            assert_int_equal(evbuffer_get_length(out), 0);
            assert_int_equal(allocated, before);
        }
        evbuffer_free(out);
    }
    assert_in_range(tries, 3, 1000);
    json_decref(status);
}

static void test_files(void **state)
{
    (void)state;
    assert_string_equal(page_files[0].path, "/style.css");
    assert_string_equal(page_files[1].path, "/page.js");
    for (size_t i = 0; i < PAGE_FILES; i++) {
        assert_int_equal(strlen(page_files[i].text), page_files[i].length);
        assert_int_equal(page_files[i].text[page_files[i].length - 1], '\n');
    }
    assert_has(page_files[0].text, "prefers-color-scheme: dark");
    assert_has(page_files[1].text, "\"use strict\";\n");
    assert_has(page_files[1].text, "adoptNode");
    assert_lacks(page_files[1].text, "innerHTML");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_wrong),
        cmocka_unit_test(test_reload_failed),
        cmocka_unit_test(test_severities),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_many_problems_are_folded),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_spoiled_texts),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_listener_pool_process),
        cmocka_unit_test(test_down_by_number),
        cmocka_unit_test(test_old_error),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_many_hosts),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_files),
    };
    event_set_mem_functions(count_malloc, count_realloc, count_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
