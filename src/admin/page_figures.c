/* SPDX-License-Identifier: ISC */
/* Numbers whose names the page need not know. */
#include <string.h>

#include "admin/page_internal.h"

/* The status has no units: the only numbers that are reals are seconds, and bytes show by their
 * name. */
static void put_number(struct page *page, const char *name, const json_t *value)
{
    if (strstr(name, "bytes") != NULL)
        page_put_bytes(page, json_number_value(value));
    else if (json_is_real(value))
        page_put_span(page, json_number_value(value));
    else
        page_put_number(page, json_number_value(value));
}

static bool is_histogram(const json_t *value)
{
    return json_object_size(value) == 2 && json_is_number(json_object_get(value, "count")) &&
           json_is_number(json_object_get(value, "sum"));
}

static void put_histogram(struct page *page, const json_t *value)
{
    double count = page_count(value, "count");
    page_put_number(page, count);
    if (count > 0) {
        page_put(page, ", mean ");
        page_put_span(page, page_count(value, "sum") / count);
    }
}

/* "keep_alive 3, max_age 12" */
static void put_labelled(struct page *page, const char *name, json_t *values)
{
    const char *key, *before = "";
    json_t *value;
    json_object_foreach(values, key, value)
    {
        if (!json_is_number(value) || json_number_value(value) == 0)
            continue;
        page_put(page, before);
        page_put_text(page, key, strlen(key));
        page_put(page, "&nbsp;");
        put_number(page, name, value);
        before = ", ";
    }
    if (*before == '\0')
        page_put(page, "0");
}

static void put_peak(struct page *page, const char *name, json_t *peak)
{
    page_put(page, " <small>peak ");
    if (json_is_object(peak))
        put_labelled(page, name, peak);
    else
        put_number(page, name, peak);
    page_put(page, "</small>");
}

void page_put_figures(struct page *page, json_t *metrics, const json_t *peaks)
{
    const char *name;
    json_t *value;
    json_object_foreach(metrics, name, value)
    {
        page_put(page, "<div><dt>");
        page_put_text(page, name, strlen(name));
        page_put(page, "</dt><dd>");
        if (is_histogram(value))
            put_histogram(page, value);
        else if (json_is_object(value))
            put_labelled(page, name, value);
        else if (json_is_number(value))
            put_number(page, name, value);
        else
            page_put_value(page, value);
        json_t *peak = json_object_get(peaks, name);
        if (json_is_number(peak) || json_object_size(peak) > 0)
            put_peak(page, name, peak);
        page_put(page, "</dd></div>");
    }
}
