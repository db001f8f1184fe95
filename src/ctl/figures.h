/* SPDX-License-Identifier: ISC */
/* Values in /status, by path. One that is missing, or of another type, is 0, "" or NULL, since
 * kaproxy may be older or newer than kaproxyctl. */
#ifndef KAPROXY_CTL_FIGURES_H
#define KAPROXY_CTL_FIGURES_H

#include <jansson.h>
#include <stdbool.h>

/* A path consists of names separated by dots. */
const json_t *figure_at(const json_t *from, const char *path);

/* Is there a number? */
bool figure_is_known(const json_t *from, const char *path);
double figure_number(const json_t *from, const char *path);

/* The same; for an object, the sum of its members. */
double figure_sum(const json_t *from, const char *path);
const char *figure_text(const json_t *from, const char *path);
bool figure_is_true(const json_t *from, const char *path);

#endif
