/* SPDX-License-Identifier: ISC */
/* The limits in effect, by pool, and figures of the process. */
#include <math.h>
#include <string.h>

#include "admin/page_internal.h"

enum { POOL, OPEN, WAITING, LIMITS, COLUMNS };

static const struct page_column columns[COLUMNS] = {
    [POOL] = {"Pool", NULL},
    [OPEN] = {"Connections", "by state, of max_open"},
    [WAITING] = {"Waiting", "clients that wait for a connection now"},
    [LIMITS] = {"Limits in effect", "the keys of kaproxy.ini(5)"},
};

/* Values are bare numbers: these are seconds. */
static bool is_span(const char *key)
{
    static const char *const spans[] = {"timeout", "connect_timeout", "keep_alive", "max_age",
                                        "unacked_timeout"};
    for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
        if (strcmp(key, spans[i]) == 0)
            return true;
    }
    return false;
}

static void put_limits(struct page *page, json_t *limits)
{
    const char *key;
    json_t *value;
    page_put(page, "<dl class=\"figures\">");
    json_object_foreach(limits, key, value)
    {
        page_put(page, "<div><dt>");
        page_put_text(page, key, strlen(key));
        page_put(page, "</dt><dd>");
        if (is_span(key) && json_is_number(value))
            page_put_span(page, json_number_value(value));
        else
            page_put_value(page, value);
        page_put(page, "</dd></div>");
    }
    page_put(page, "</dl>");
}

static void put_pool(struct page *page, const json_t *pool)
{
    json_t *limits = json_object_get(pool, "limits");
    /* Held connections count towards max_open, unlike max_per_host. */
    const struct page_bar bar = {.connections = json_object_get(pool, "connections"),
                                 .limit = page_number(limits, "max_open"),
                                 .counts_held = true};
    page_put(page, "<tbody><tr><th scope=\"row\"><span class=\"name\">");
    page_put_value(page, json_object_get(pool, "name"));
    page_put(page, "</span></th>");
    page_put_cell(page, &columns[OPEN]);
    page_put_bar(page, &bar);
    page_put(page, "</td>");
    page_put_cell(page, &columns[WAITING]);
    page_put_number(page, page_number(pool, "waiting"));
    page_put(page, "</td>");
    page_put_cell(page, &columns[LIMITS]);
    put_limits(page, limits);
    page_put(page, "</td></tr></tbody>\n");
}

void page_put_pools(struct page *page)
{
    const json_t *pools = json_object_get(page->status, "pools");
    if (json_array_size(pools) == 0)
        return;
    page_put(page, "<section id=\"pools\"><h2>Pools</h2>");
    page_put_table(page, "pools", "Pools and their limits", columns, COLUMNS);
    for (size_t i = 0; i < json_array_size(pools); i++)
        put_pool(page, json_array_get(pools, i));
    page_put(page, "</table></section>\n");
}

/* One of the most important figures; of those that should be 0 other values are highlighted. */
struct item {
    const char *title;
    const char *path; /* in the status */
    void (*put)(struct page *, double);
    const char *limit; /* likewise; NULL: none */
    bool is_fault;     /* unless it is 0 */
};

static void put_item(struct page *page, const struct item *item)
{
    double number = page_number(page->status, item->path);
    bool is_bad = item->is_fault && number > 0;
    page_putf(page, "<div><dt>%s</dt><dd>%s", item->title, is_bad ? "<b class=\"bad\">" : "");
    item->put(page, number);
    if (is_bad)
        page_put(page, "</b>");
    if (item->limit != NULL && isfinite(page_number(page->status, item->limit))) {
        page_put(page, " of ");
        item->put(page, page_number(page->status, item->limit));
    }
    page_put(page, "</dd></div>");
}

void page_put_process(struct page *page)
{
    static const struct item items[] = {
        {"Clients", "process.clients", page_put_exact, "process.max_clients", false},
        {"max_clients reached", "process.max_clients_reached", page_put_number, NULL, true},
        {"Accept pauses", "process.accept_pauses", page_put_number, NULL, true},
        {"Log lines lost", "process.log_lines_lost.messages", page_put_number, NULL, true},
        {"Access log lines lost", "process.log_lines_lost.access", page_put_number, NULL, true},
        {"DNS queries", "process.dns_queries", page_put_number, NULL, false},
        {"DNS failures", "process.dns_failures", page_put_number, NULL, true},
        {"Loop lag", "loop.lag", page_put_span, NULL, false},
        {"Snapshot age", "loop.snapshot_age", page_put_span, NULL, false},
    };
    json_t *process = json_object_get(page->status, "process");
    page_put(page, "<section id=\"process\"><h2>Process</h2><dl class=\"figures\">");
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        put_item(page, &items[i]);
    page_put(page, "</dl><details id=\"all\"><summary>All figures of the process</summary>"
                   "<dl class=\"figures\">");
    page_put_figures(page, process, NULL);
    page_put(page, "</dl></details></section>\n");
}
