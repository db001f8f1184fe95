/* SPDX-License-Identifier: ISC */
/* GET /: the status page for people, made of what GET /status has and of nothing else, complete
 * without JavaScript; and the style and the script that it refers to.
 *
 * Whatever the status has not, or has as null, is shown as a dash. Texts may be anything: what is
 * no character, or cannot be seen, is replaced, and the rest is escaped. */
#ifndef KAPROXY_PAGE_H
#define KAPROXY_PAGE_H

#include <stddef.h>

#include <event2/buffer.h>
#include <jansson.h>

#include "base/util.h"

/* Appends the page. 0, or -1 with ENOMEM, and nothing is appended then. It takes memory for the
 * page alone: some 2 KiB for each host and each listener. */
MUST_CHECK int page_write(struct evbuffer *out, const json_t *status);

/* A file that is part of the program; constant. */
struct page_file {
    const char *path; /* as the page has it: "/style.css" */
    const char *type; /* its Content-Type */
    const char *text;
    size_t length;
};

#define PAGE_FILES 2
extern const struct page_file page_files[PAGE_FILES];

#define PAGE_TYPE "text/html; charset=utf-8"

/* The page's Content-Security-Policy. data: is for its icon, which is none, so that no browser asks
 * for /favicon.ico. */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#endif
