/* SPDX-License-Identifier: ISC */
/* Describes the differences between two configurations in words, for the log and for whoever
 * requested the reload. Driven by the table of keys, so a new key is covered automatically. Any
 * thread. */
#ifndef KAPROXY_CHANGES_H
#define KAPROXY_CHANGES_H

#include <stddef.h>
#include <stdio.h>

#include "config/config.h"

/* In a buffer of this size nothing is truncated: lists that are too long end with "and 12 more". */
#define CHANGES_TEXT_MAX 1536

/* Writes one line: keys of [kaproxy] and [admin], pools and listeners by name, upstreams whose TLS
 * files have changed; or "nothing changed". Values are the effective ones, so a listener is listed
 * for what its pool changes for it. Keys that cannot change are not listed. Returns text. */
char *changes_describe(const struct config *before, const struct config *after, char *text,
                       size_t size);

/* Writes a warning for each key that cannot change while kaproxy runs and that differs from its
 * value at the start of the process: "FILE: warning: KEY: ...", one per line. */
void changes_warn(const struct config *start, const struct config *after, FILE *out);

#endif
