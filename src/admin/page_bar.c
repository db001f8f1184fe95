/* SPDX-License-Identifier: ISC */
/* Connections by state: a bar relative to their limit, and the same in words, for readers who
 * cannot distinguish its colours. */
#include <math.h>

#include "admin/page_internal.h"

/* In the bar's own units: the part within the limit, a gap, and then what does not count towards
 * the limit. */
#define LIMIT_WIDTH  100.0
#define BEYOND_START 102.0
#define BAR_WIDTH    127.0

struct part {
    const char *name;
    bool is_beyond; /* the limit does not apply to these */
    double count;
};

/* In the order in which they are drawn and listed. */
enum { BUSY, CONNECTING, IDLE, HELD, WAITING, PARTS };

/* Returns its end. */
static double put_part(struct page *page, const struct part *part, double x, double width,
                       double end)
{
    width = x + width > end ? end - x : width;
    if (width <= 0)
        return x;
    page_putf(page, "<rect class=\"%s\" x=\"%.4g\" width=\"%.4g\" height=\"8\"/>", part->name, x,
              width);
    return x + width;
}

static void put_limit(struct page *page, double limit)
{
    if (limit > 0) {
        page_put(page, " of ");
        page_put_exact(page, limit);
    }
}

/* "3 busy, 2 idle of 8; 1 held; 40 waiting": zeros are left out, except for the first. */
static void put_words(struct page *page, const struct part parts[PARTS], double limit)
{
    bool is_beyond = false;
    for (int i = 0; i < PARTS; i++) {
        if (parts[i].count <= 0 && i != BUSY)
            continue;
        if (parts[i].is_beyond && !is_beyond)
            put_limit(page, limit);
        is_beyond = parts[i].is_beyond;
        page_put(page, is_beyond ? "; " : i != BUSY ? ", " : "");
        page_put_exact(page, parts[i].count);
        page_putf(page, " %s", parts[i].name);
    }
    if (!is_beyond)
        put_limit(page, limit);
}

void page_put_bar(struct page *page, const struct page_bar *bar)
{
    struct part parts[PARTS] = {[BUSY] = {"busy", false, 0},
                                [CONNECTING] = {"connecting", false, 0},
                                [IDLE] = {"idle", false, 0},
                                [HELD] = {"held", !bar->counts_held, 0},
                                [WAITING] = {"waiting", true, bar->waiting}};
    double open = 0;
    for (int i = 0; i < WAITING; i++) {
        parts[i].count = page_count(bar->connections, parts[i].name);
        open += parts[i].is_beyond ? 0 : parts[i].count;
    }
    double limit = bar->limit > 0 ? bar->limit : 0;
    double all = fmax(fmax(limit, open), 1), within = 0, beyond = BEYOND_START;
    page_putf(page,
              "<svg class=\"bar\" viewBox=\"0 0 %.0f 8\" preserveAspectRatio=\"none\" "
              "aria-hidden=\"true\">"
              "<title>",
              BAR_WIDTH);
    put_words(page, parts, limit);
    page_putf(page, "</title><rect class=\"track\" width=\"%.0f\" height=\"8\"/>", LIMIT_WIDTH);
    for (int i = 0; i < PARTS; i++) {
        double width = parts[i].count / all * LIMIT_WIDTH;
        if (parts[i].is_beyond)
            beyond = put_part(page, &parts[i], beyond, width, BAR_WIDTH);
        else
            within = put_part(page, &parts[i], within, width, LIMIT_WIDTH);
    }
    page_put(page, "</svg><span class=\"words\">");
    put_words(page, parts, limit);
    page_put(page, "</span>");
}
