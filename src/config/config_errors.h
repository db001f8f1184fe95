/* SPDX-License-Identifier: ISC */
/* The mistakes and warnings found in a file, in the order of its lines. */
#ifndef KAPROXY_CONFIG_ERRORS_H
#define KAPROXY_CONFIG_ERRORS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/queue.h>

#include "base/util.h"

struct config_error;

struct config_errors {
    TAILQ_HEAD(config_error_list, config_error) list;
    bool any;           /* a mistake, not only warnings */
    bool out_of_memory; /* a mistake could not be stored */
};

void config_errors_init(struct config_errors *errors);
void config_errors_clear(struct config_errors *errors);

/* line 0: the mistake belongs to no line. */
void config_errors_add(struct config_errors *errors, int line, const char *format, ...)
    PRINTF(3, 4);

/* The same for what is not a mistake, but looks like one. */
void config_errors_warn(struct config_errors *errors, int line, const char *format, ...)
    PRINTF(3, 4);

/* Ignores warnings. */
bool config_errors_any(const struct config_errors *errors);

/* One line each: FILE:LINE: text, or FILE: text; for a warning the text is preceded by "warning: ".
 * If the output is the journal, each line begins with its priority. */
void config_errors_write(const struct config_errors *errors, const char *file, FILE *out);

/* The same as log messages: errors and warnings. */
void config_errors_log(const struct config_errors *errors, const char *file);

#endif
