/* SPDX-License-Identifier: ISC */
/* A row for each listener: its upstream, its sessions, and which of them ended badly. */
#include <math.h>
#include <string.h>

#include "admin/page_internal.h"

enum { LISTENER, SESSIONS, OLDEST, ACCEPTED, EXCHANGES, MEDIAN, SLOWEST, FAILED, BYTES, COLUMNS };

static const struct page_column columns[COLUMNS] = {
    [LISTENER] = {"Listener", NULL},
    [SESSIONS] = {"Sessions", "clients connected now"},
    [OLDEST] = {"Oldest", "age of the oldest session"},
    [ACCEPTED] = {"Accepted/s", "clients, over the last 10 s"},
    [EXCHANGES] = {"Exchanges/s", "requests or batches of commands; of tcp and tls: sessions that"
                                  " ended, over the last 10 s"},
    [MEDIAN] = {"Time p50", "of exchanges in the last minute: half of them took up to so long"},
    [SLOWEST] = {"Time p99", "of exchanges in the last minute: one in a hundred took longer"},
    [FAILED] = {"Failed", "exchanges that ended badly, since the start"},
    [BYTES] = {"Bytes/s", "in both directions, of exchanges that ended in the last 10 s"},
};

/* All other ends are failures. */
static bool is_failure(const char *end)
{
    static const char *const others[] = {"complete", "client_left", "client_reset", "shutdown"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (strcmp(end, others[i]) == 0)
            return false;
    }
    return true;
}

static double count_failures(json_t *ends)
{
    const char *end;
    json_t *count;
    double sum = 0;
    json_object_foreach(ends, end, count)
    {
        if (is_failure(end))
            sum += json_number_value(count);
    }
    return sum;
}

/* "alloc_failed 12, upstream_reset 3" */
static void put_failures(struct page *page, json_t *ends)
{
    const char *end, *before = "<p>Ended badly since the start: ";
    json_t *count;
    json_object_foreach(ends, end, count)
    {
        if (!is_failure(end) || json_number_value(count) <= 0)
            continue;
        page_put(page, before);
        page_put_text(page, end, strlen(end));
        page_put(page, "&nbsp;");
        page_put_number(page, json_number_value(count));
        before = ", ";
    }
    page_put(page, *before == '<' ? "" : "</p>");
}

static void put_name(struct page *page, const json_t *listener)
{
    const json_t *addresses = json_object_get(listener, "addresses");
    page_put(page, "<th scope=\"row\"><span class=\"name\">");
    page_put_value(page, json_object_get(listener, "name"));
    page_put(page, "</span>");
    page_put_state(page, json_object_get(listener, "state"));
    page_put(page, " <small>");
    for (size_t i = 0; i < json_array_size(addresses); i++) {
        page_put(page, i > 0 ? ", " : "");
        page_put_value(page, json_array_get(addresses, i));
    }
    page_put(page, " &rarr; ");
    page_put_value(page, json_object_get(listener, "upstream"));
    if (json_array_size(json_object_get(page->status, "pools")) > 1) {
        page_put(page, ", pool ");
        page_put_value(page, json_object_get(listener, "pool"));
    }
    page_put(page, "</small></th>");
}

static void put_sessions(struct page *page, const json_t *listener)
{
    double oldest = page_number(listener, "oldest_session");
    double peak = page_count(listener, "peaks.sessions");
    page_put_cell(page, &columns[SESSIONS]);
    page_put_number(page, page_number(listener, "metrics.sessions"));
    if (peak > 0) {
        page_put(page, " <small>peak ");
        page_put_number(page, peak);
        page_put(page, "</small>");
    }
    page_put(page, "</td>");
    page_put_cell(page, &columns[OLDEST]);
    page_put_span(page, oldest > 0 ? oldest : NAN);
    page_put(page, "</td>");
}

static void put_rates(struct page *page, const json_t *listener, json_t *ends)
{
    double failures = ends == NULL ? NAN : count_failures(ends);
    const struct {
        int column;
        double number;
        void (*put)(struct page *, double);
    } cells[] = {
        {ACCEPTED, page_number(listener, "rates.accepted"), page_put_number},
        {EXCHANGES, page_number(listener, "rates.exchange"), page_put_number},
        {MEDIAN, page_number(listener, "exchange.p50"), page_put_span},
        {SLOWEST, page_number(listener, "exchange.p99"), page_put_span},
        {FAILED, failures, page_put_number},
        {BYTES, page_number(listener, "rates.bytes"), page_put_bytes},
    };
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        page_put_cell(page, &columns[cells[i].column]);
        cells[i].put(page, cells[i].number);
        page_put(page, "</td>");
    }
}

static void put_more(struct page *page, const json_t *listener, const struct page_anchor *anchor)
{
    page_putf(page, "<details id=\"d%s\"><summary>", anchor->text);
    page_put_value(page, json_object_get(listener, "protocol"));
    page_put(page, ", ");
    page_put_bytes(page, page_number(listener, "metrics.bytes.up"));
    page_put(page, " up and ");
    page_put_bytes(page, page_number(listener, "metrics.bytes.down"));
    page_put(page, " down since the start</summary><dl class=\"figures\">");
    page_put_figures(page, json_object_get(listener, "metrics"),
                     json_object_get(listener, "peaks"));
    page_put(page, "</dl></details>");
}

static void put_listener(struct page *page, const json_t *listener)
{
    struct page_anchor anchor = page_listener_anchor(listener, "name");
    json_t *ends = json_object_get(json_object_get(listener, "metrics"), "ends");
    page_putf(page, "<tbody id=\"%s\"><tr>", anchor.text);
    put_name(page, listener);
    put_sessions(page, listener);
    put_rates(page, listener, ends);
    page_putf(page, "</tr><tr class=\"more\"><td colspan=\"%d\">", COLUMNS);
    put_failures(page, ends);
    put_more(page, listener, &anchor);
    page_put(page, "</td></tr></tbody>\n");
}

void page_put_listeners(struct page *page)
{
    const json_t *listeners = json_object_get(page->status, "listeners");
    page_put(page, "<section id=\"listeners\"><h2>Listeners</h2>");
    if (json_array_size(listeners) == 0) {
        page_put(page, "<p>There is none.</p></section>\n");
        return;
    }
    page_put_table(page, "listeners", "Listeners", columns, COLUMNS);
    for (size_t i = 0; i < json_array_size(listeners); i++)
        put_listener(page, json_array_get(listeners, i));
    page_put(page, "</table></section>\n");
}
