/* SPDX-License-Identifier: ISC */
/* GET /: the status page for humans, made from the contents of GET /status alone, complete without
 * JavaScript; and the style and the script that it refers to.
 *
 * What the status lacks, or has as null, is shown as a dash. Texts may be anything: invalid and
 * invisible characters are replaced, and the rest is escaped. */
#ifndef KAPROXY_PAGE_H
#define KAPROXY_PAGE_H

#include <stddef.h>

#include <event2/buffer.h>
#include <jansson.h>

#include "base/util.h"

/* Appends the page. 0, or -1 with ENOMEM, and then nothing is appended. It only takes memory for
 * the page: some 2 KiB for each host and each listener. */
MUST_CHECK int page_write(struct evbuffer *out, const json_t *status);

/* A file that is part of the program; constant. */
struct page_file {
    const char *path; /* as the page refers to it: "/style.css" */
    const char *type; /* its Content-Type */
    const char *text;
    size_t length;
};

#define PAGE_FILES 2
extern const struct page_file page_files[PAGE_FILES];

#define PAGE_TYPE "text/html; charset=utf-8"

/* The page's Content-Security-Policy. data: is for its icon, an empty one, so that no browser
 * requests /favicon.ico. */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#endif
