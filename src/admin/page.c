/* SPDX-License-Identifier: ISC */
/* The document: problems, the process in brief, and then everything in sections. */
#include "admin/page.h"

#include <errno.h>
#include <math.h>

#include "admin/page_internal.h"

/* The number of problems shown at once; the others are collapsed. */
#define PROBLEMS_SHOWN 20

struct counts {
    size_t all, faults; /* critical ones and warnings */
    bool is_critical;
};

static struct counts count_problems(const json_t *problems)
{
    struct counts counts = {.all = json_array_size(problems)};
    for (size_t i = 0; i < counts.all; i++) {
        const json_t *severity = json_object_get(json_array_get(problems, i), "severity");
        counts.is_critical |= page_is(severity, "critical");
        counts.faults += !page_is(severity, "notice");
    }
    return counts;
}

static void put_headline(struct page *page, const struct counts *counts)
{
    if (!json_is_array(json_object_get(page->status, "problems")))
        page_put(page, "Problems are unknown");
    else if (counts->faults == 0)
        page_put(page, "No problems");
    else
        page_putf(page, "%zu problem%s", counts->faults, counts->faults == 1 ? "" : "s");
}

static void put_head(struct page *page, const struct counts *counts)
{
    page_put(page,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    put_headline(page, counts);
    page_put(page,
             " - kaproxy</title>\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n"
             "<link rel=\"icon\" href=\"data:,\">\n"
             "<link rel=\"stylesheet\" href=\"/style.css\">\n"
             "<script src=\"/page.js\" defer></script>\n"
             "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n"
             "</head>\n<body>\n"
             /* Outside of what the script replaces, so that screen readers announce its changes. */
             "<p id=\"stale\" hidden><strong role=\"alert\"></strong> <span></span></p>\n"
             "<p id=\"news\" role=\"status\" aria-live=\"polite\"></p>\n");
}

/* Where its row is. */
static void put_link(struct page *page, const json_t *problem)
{
    bool is_of_host = json_is_string(json_object_get(problem, "upstream"));
    bool has_row = is_of_host || json_is_string(json_object_get(problem, "listener"));
    struct page_anchor anchor =
        is_of_host ? page_host_anchor(problem) : page_listener_anchor(problem, "listener");
    if (has_row)
        page_putf(page, "<a href=\"#%s\" ", anchor.text);
    page_put(page, has_row ? "class=\"code\">" : "<span class=\"code\">");
    page_put_value(page, json_object_get(problem, "code"));
    page_put(page, has_row ? "</a>" : "</span>");
}

static void put_problem(struct page *page, const json_t *problem)
{
    const json_t *severity = json_object_get(problem, "severity");
    const char *class = page_is(severity, "critical") ? "critical"
                        : page_is(severity, "notice") ? "notice"
                                                      : "warning";
    page_putf(page, "<li class=\"%s\"><b>", class);
    page_put_value(page, severity);
    page_put(page, "</b> <span class=\"text\">");
    page_put_value(page, json_object_get(problem, "text"));
    page_put(page, "</span> ");
    put_link(page, problem);
    page_put(page, "</li>\n");
}

static void put_list(struct page *page, const json_t *problems, size_t first, size_t end)
{
    page_put(page, "<ul>\n");
    for (size_t i = first; i < end; i++)
        put_problem(page, json_array_get(problems, i));
    page_put(page, "</ul>");
}

static void put_problems(struct page *page, const struct counts *counts)
{
    const json_t *problems = json_object_get(page->status, "problems");
    size_t shown = counts->all < PROBLEMS_SHOWN ? counts->all : PROBLEMS_SHOWN;
    const char *class = counts->is_critical ? "critical" : counts->faults > 0 ? "warning" : "well";
    page_putf(page, "<section id=\"problems\" class=\"%s\"><h1>", class);
    put_headline(page, counts);
    page_put(page, "</h1>");
    if (shown > 0)
        put_list(page, problems, 0, shown);
    if (shown < counts->all) {
        page_putf(page, "<details id=\"others\"><summary>%zu more</summary>", counts->all - shown);
        put_list(page, problems, shown, counts->all);
        page_put(page, "</details>");
    }
    page_put(page, "</section>\n");
}

static void put_about(struct page *page)
{
    const json_t *kaproxy = json_object_get(page->status, "kaproxy");
    page_put(page, "<section id=\"about\"><h2>kaproxy ");
    page_put_value(page, json_object_get(kaproxy, "version"));
    page_put(page, "</h2><p><b class=\"state\">");
    page_put_value(page, json_object_get(kaproxy, "state"));
    page_put(page, "</b>, up ");
    page_put_span(page, page_number(kaproxy, "uptime"));
    page_put(page, ", process ");
    page_put_value(page, json_object_get(kaproxy, "pid"));
    page_put(page, ", <span class=\"file\">");
    page_put_value(page, json_object_get(kaproxy, "config"));
    page_put(page, "</span>, read <time>");
    page_put_moment(page, page_number(kaproxy, "config_read"));
    page_put(page, "</time>");
    if (json_is_object(json_object_get(kaproxy, "reload_failed")))
        page_put(page, " (<b class=\"badge bad\">the last reload failed</b>)");
    page_put(page, ". Figures of <time>");
    page_put_moment(page, page->now);
    page_put(page, "</time>");
    if (json_is_false(page_at(page->status, "loop.answers"))) {
        page_put(page,
                 "; <b class=\"badge bad\">the loop does not answer</b>, what it told last is ");
        page_put_span(page, page_number(page->status, "loop.snapshot_age"));
        page_put(page, " old");
    }
    page_put(page, "</p></section>\n");
}

static void put_document(struct page *page)
{
    struct counts counts = count_problems(json_object_get(page->status, "problems"));
    put_head(page, &counts);
    page_put(page, "<main data-version=\"");
    page_put_value(page, page_at(page->status, "kaproxy.version"));
    page_put(page, "\">\n");
    put_problems(page, &counts);
    put_about(page);
    page_put_hosts(page);
    page_put_listeners(page);
    page_put_pools(page);
    page_put_process(page);
    page_put(page, "</main>\n<footer><button type=\"button\" id=\"pause\" hidden>Pause</button> "
                   "<a href=\"/status\">JSON</a> <a href=\"/metrics\">metrics</a> "
                   "<span id=\"hint\"></span></footer>\n"
                   "</body>\n</html>\n");
}

int page_write(struct evbuffer *out, const json_t *status)
{
    struct page page = {
        .out = evbuffer_new(), .status = status, .now = page_number(status, "kaproxy.now")};
    if (page.out == NULL)
        goto no_memory;
    put_document(&page);
    if (page.failed || evbuffer_add_buffer(out, page.out) < 0)
        goto no_memory;
    evbuffer_free(page.out);
    return 0;

no_memory:
    if (page.out != NULL)
        evbuffer_free(page.out);
    errno = ENOMEM;
    return -1;
}
