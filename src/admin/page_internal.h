/* SPDX-License-Identifier: ISC */
/* Shared by the files of the page; for page*.c alone.
 *
 *   page.c            the document, problems, the process in brief
 *   page_hosts.c      a row for each host
 *   page_listeners.c  a row for each listener
 *   page_process.c    limits in effect, by pool; figures of the process
 *   page_bar.c        connections by state
 *   page_figures.c    numbers whose names the page need not know
 *   page_put.c        texts, escaped, and numbers as humans read them
 *   page_files.c      style and script */
#ifndef KAPROXY_PAGE_INTERNAL_H
#define KAPROXY_PAGE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/buffer.h>
#include <jansson.h>

#include "admin/page.h"

struct page {
    struct evbuffer *out;
    const json_t *status;
    double now;  /* Unix time; NAN: unknown */
    bool failed; /* out of memory: nothing more is put */
};

/* The text is our own HTML. */
void page_put(struct page *page, const char *html);
/* The same; what is inserted needs no escaping. At most 256 bytes. */
void page_putf(struct page *page, const char *format, ...) PRINTF(2, 3);

/* Any text, escaped, for use between tags and in quoted attributes. */
void page_put_text(struct page *page, const char *text, size_t length);
/* A JSON value as text; a dash if it is not a string, number or boolean. */
void page_put_value(struct page *page, const json_t *value);
bool page_is(const json_t *value, const char *text); /* Is it that string? */

/* The value at a path of names: "metrics.connections.busy"; NULL: none. */
const json_t *page_at(const json_t *from, const char *path);
/* A number at a path; NAN: none. */
double page_number(const json_t *from, const char *path);
/* The same, 0: none. */
double page_count(const json_t *from, const char *path);

/* For humans. NAN is a dash. */
void page_put_number(struct page *page, double number); /* 999, 1.2k, 34k; 0.25 */
void page_put_exact(struct page *page, double number);  /* 1234: a value to compare with a key */
void page_put_bytes(struct page *page, double bytes);   /* 1.2 kB */
void page_put_span(struct page *page, double seconds);  /* 0.3 ms, 12 s, 4 min, 3 d 4 h */
void page_put_share(struct page *page, double share);   /* 97 % */
void page_put_age(struct page *page, double moment);    /* "3 min", since then */
void page_put_moment(struct page *page, double moment); /* 2026-11-22 10:00:00 UTC */

/* The HTML id of a host or a listener: the same in each page, so that links, and expanded rows,
 * survive. */
struct page_anchor {
    char text[24];
};
/* For what has "pool", "upstream" and "tls". */
struct page_anchor page_host_anchor(const json_t *host);
/* For what has the listener's name in this member. */
struct page_anchor page_listener_anchor(const json_t *from, const char *name);

/* The columns of a table; narrow screens show their titles beside the values. */
struct page_column {
    const char *title;
    const char *hint; /* what it means; NULL: self-explanatory */
};
/* From <table> to the end of its head. `caption` is for those who cannot see the heading. */
void page_put_table(struct page *page, const char *class, const char *caption,
                    const struct page_column *columns, size_t count);
/* Begins a cell of that column; the caller puts </td>. */
void page_put_cell(struct page *page, const struct page_column *column);

/* Numbers whose names the page need not know, with their peaks: the contents of a <dl>. Of those by
 * a label, zeros are left out. */
void page_put_figures(struct page *page, json_t *metrics, const json_t *peaks);

/* "paused", "draining", or nothing. */
void page_put_state(struct page *page, const json_t *state);

/* A <section>. */
void page_put_hosts(struct page *page);
void page_put_listeners(struct page *page);
void page_put_pools(struct page *page);
void page_put_process(struct page *page);

/* The states of a pool's or a host's connections, as a bar and in words. */
struct page_bar {
    const json_t *connections;
    double limit;     /* 0, NAN: unknown */
    bool counts_held; /* held connections count towards it too */
    double waiting;
};
void page_put_bar(struct page *page, const struct page_bar *bar);

#endif
