/* SPDX-License-Identifier: ISC */
/* Text for humans: what is printable, how wide it is, and numbers with units. */
#ifndef KAPROXY_CTL_TEXT_H
#define KAPROXY_CTL_TEXT_H

#include <stdio.h>

#include "base/util.h"

/* Prints the error, and exits (EXIT_UNREACHABLE). */
void text_no_memory(void) __attribute__((noreturn));

/* A copy in which whatever a terminal might not simply show (control characters, and what the
 * locale does not have) is a '?'; the caller frees it. */
char *text_clean(const char *text);

/* The columns that clean text takes. */
unsigned text_width(const char *text);

/* Writes clean text; if it is wider than `width` columns, its beginning and a '~'. Returns how many
 * columns were written. */
unsigned text_write(FILE *out, const char *text, unsigned width);

/* All return text: 0.3 ms, 12.5 s, 5m12s, 3h04m, 2d03h; 1.5 KiB; 12.3; 87 %. */
#define TEXT_NUMBER_MAX 40
const char *text_span(double seconds, char text[TEXT_NUMBER_MAX]);
const char *text_bytes(double bytes, char text[TEXT_NUMBER_MAX]);
const char *text_count(double count, char text[TEXT_NUMBER_MAX]);
const char *text_rate(double per_second, char text[TEXT_NUMBER_MAX]);
const char *text_share(double share, char text[TEXT_NUMBER_MAX]);

#endif
