/* SPDX-License-Identifier: ISC */
/* What another configuration changes, in words, for the log and for whoever asked for it: found by
 * the table of keys, so that each new key is among it. Any thread. */
#ifndef KAPROXY_CHANGES_H
#define KAPROXY_CHANGES_H

#include <stddef.h>
#include <stdio.h>

#include "config/config.h"

/* With this much room nothing is cut: lists that are too long end with "and 12 more". */
#define CHANGES_TEXT_MAX 1536

/* Writes one line: keys of [kaproxy] and [admin], pools and listeners by name, upstreams whose TLS
 * files have another content; or "nothing changed". Values are as they take effect, so that a
 * listener shows what its pool changes for it. What cannot change is not among them. Returns text.
 */
char *changes_describe(const struct config *before, const struct config *after, char *text,
                       size_t size);

/* Writes a warning for each key that cannot change while kaproxy runs, and is not what it was when
 * the process started: "FILE: warning: KEY: ...", a line each. */
void changes_warn(const struct config *start, const struct config *after, FILE *out);

#endif
