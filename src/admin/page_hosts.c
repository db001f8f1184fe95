/* SPDX-License-Identifier: ISC */
/* A row for each host: its identity, its connections as a bar, its activity, its last error. */
#include <math.h>

#include "admin/page_internal.h"

enum { UPSTREAM, CONNECTIONS, WAITING, GRANTS, DIALS, FAILURES, REUSE, MEDIAN, SLOWEST, COLUMNS };

/* Seconds: an older error may be over, and is not highlighted. */
#define ERROR_RECENT 300.0

static const struct page_column columns[COLUMNS] = {
    [UPSTREAM] = {"Upstream", NULL},
    [CONNECTIONS] = {"Connections", "by state, of max_per_host; held ones and waiting clients are"
                                    " not under that limit, and behind it"},
    [WAITING] = {"Waiting", "clients that wait for a connection now"},
    [GRANTS] = {"Grants/s", "connections given to clients, over the last 10 s"},
    [DIALS] = {"Dials/s", "attempts to open a connection, over the last 10 s"},
    [FAILURES] = {"Failures/s", "clients that got none, over the last 10 s"},
    [REUSE] = {"Reuse", "share of the grants of the last minute that needed no new connection"},
    [MEDIAN] = {"Wait p50", "for a connection, in the last minute: half of the clients waited up to"
                            " so long"},
    [SLOWEST] = {"Wait p99", "for a connection, in the last minute: one client in a hundred waited"
                             " longer"},
};

/* Nothing if there is no such text. */
static void put_small(struct page *page, const char *before, const json_t *text)
{
    if (!json_is_string(text))
        return;
    page_putf(page, " <small>%s", before);
    page_put_value(page, text);
    page_put(page, "</small>");
}

/* The number may be newer than the rest. */
static bool is_down(const json_t *host)
{
    return json_is_true(json_object_get(host, "down")) || page_count(host, "metrics.down") > 0;
}

static void put_name(struct page *page, const json_t *host)
{
    const json_t *since = json_object_get(host, "down_since");
    page_put(page, "<th scope=\"row\"><span class=\"name\">");
    page_put_value(page, json_object_get(host, "upstream"));
    page_put(page, "</span>");
    page_put_state(page, json_object_get(host, "state"));
    if (is_down(host)) {
        page_put(page, " <b class=\"badge bad\">down");
        if (json_is_number(since)) {
            page_put(page, " for ");
            page_put_age(page, json_number_value(since));
        }
        page_put(page, "</b>");
    }
    put_small(page, "TLS as in listener ", json_object_get(host, "tls"));
    if (json_array_size(json_object_get(page->status, "pools")) > 1)
        put_small(page, "pool ", json_object_get(host, "pool"));
    page_put(page, "</th>");
}

static void put_waiting(struct page *page, const json_t *host)
{
    double waiting = page_number(host, "metrics.waiting"), oldest = page_count(host, "oldest_wait");
    page_put_cell(page, &columns[WAITING]);
    page_put(page, waiting > 0 ? "<b>" : "");
    page_put_number(page, waiting);
    page_put(page, waiting > 0 ? "</b>" : "");
    if (waiting > 0 && oldest > 0) {
        page_put(page, " <small>oldest ");
        page_put_span(page, oldest);
        page_put(page, "</small>");
    }
    page_put(page, "</td>");
}

static void put_number_cell(struct page *page, int column, double number,
                            void (*put)(struct page *, double))
{
    page_put_cell(page, &columns[column]);
    put(page, number);
    page_put(page, "</td>");
}

static void put_figures(struct page *page, const json_t *host)
{
    const struct page_bar bar = {.connections = page_at(host, "metrics.connections"),
                                 .limit = page_number(host, "limits.max_per_host"),
                                 .waiting = page_count(host, "metrics.waiting")};
    double failures = page_number(host, "rates.failures");
    page_put_cell(page, &columns[CONNECTIONS]);
    page_put_bar(page, &bar);
    page_put(page, "</td>");
    put_waiting(page, host);
    put_number_cell(page, GRANTS, page_number(host, "rates.grants"), page_put_number);
    put_number_cell(page, DIALS, page_number(host, "rates.dials"), page_put_number);
    page_put_cell(page, &columns[FAILURES]);
    page_put(page, failures > 0 ? "<b>" : "");
    page_put_number(page, failures);
    page_put(page, failures > 0 ? "</b></td>" : "</td>");
    put_number_cell(page, REUSE, page_number(host, "reuse"), page_put_share);
    put_number_cell(page, MEDIAN, page_number(host, "wait.p50"), page_put_span);
    put_number_cell(page, SLOWEST, page_number(host, "wait.p99"), page_put_span);
}

static void put_last_error(struct page *page, const json_t *host)
{
    const json_t *error = json_object_get(host, "last_error");
    if (!json_is_object(error))
        return;
    double at = page_number(error, "at");
    page_put(page, page->now - at < ERROR_RECENT ? "<p class=\"error\">" : "<p>");
    page_put(page, "Last error ");
    page_put_age(page, at);
    page_put(page, " ago: ");
    page_put_value(page, json_object_get(error, "function"));
    page_put(page, ": <span>");
    page_put_value(page, json_object_get(error, "text"));
    page_put(page, "</span></p>");
}

/* What is seldom needed. The summary is useful by itself. */
static void put_more(struct page *page, const json_t *host, const struct page_anchor *anchor)
{
    page_putf(page, "<details id=\"d%s\"><summary>", anchor->text);
    page_put(page, "Connect p50 ");
    page_put_span(page, page_number(host, "connect.p50"));
    page_put(page, ", p99 ");
    page_put_span(page, page_number(host, "connect.p99"));
    if (json_is_number(json_object_get(host, "last_connected"))) {
        page_put(page, ", last connected ");
        page_put_age(page, page_number(host, "last_connected"));
        page_put(page, " ago");
    }
    page_put(page, "</summary><dl class=\"figures\">");
    page_put_figures(page, json_object_get(host, "metrics"), json_object_get(host, "peaks"));
    page_put(page, "</dl></details>");
}

static void put_host(struct page *page, const json_t *host)
{
    struct page_anchor anchor = page_host_anchor(host);
    page_putf(page, "<tbody id=\"%s\"%s><tr>", anchor.text, is_down(host) ? " class=\"down\"" : "");
    put_name(page, host);
    put_figures(page, host);
    page_putf(page, "</tr><tr class=\"more\"><td colspan=\"%d\">", COLUMNS);
    put_last_error(page, host);
    put_more(page, host, &anchor);
    page_put(page, "</td></tr></tbody>\n");
}

/* Explains the colours of the bars. */
static void put_legend(struct page *page)
{
    static const char *const states[] = {"busy", "connecting", "idle", "held", "waiting"};
    page_put(page, "<p class=\"legend\">");
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        page_putf(page,
                  "<span><svg viewBox=\"0 0 8 8\" aria-hidden=\"true\"><rect class=\"%s\""
                  " width=\"8\" height=\"8\"/></svg>%s</span> ",
                  states[i], states[i]);
    page_put(page, "</p>");
}

void page_put_hosts(struct page *page)
{
    const json_t *hosts = json_object_get(page->status, "hosts");
    page_put(page, "<section id=\"hosts\"><h2>Upstreams</h2>");
    if (json_array_size(hosts) == 0) {
        page_put(page, "<p>None is known yet.</p></section>\n");
        return;
    }
    put_legend(page);
    page_put_table(page, "hosts", "Upstreams", columns, COLUMNS);
    for (size_t i = 0; i < json_array_size(hosts); i++)
        put_host(page, json_array_get(hosts, i));
    page_put(page, "</table></section>\n");
}
