/* SPDX-License-Identifier: ISC */
/* The mistakes found in one file, and warnings, in the order of its lines. */
#ifndef KAPROXY_CONFIG_ERRORS_H
#define KAPROXY_CONFIG_ERRORS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/queue.h>

#include "base/util.h"

struct config_error;

struct config_errors {
    TAILQ_HEAD(config_error_list, config_error) list;
    bool any;           /* a mistake, and not only warnings */
    bool out_of_memory; /* some mistake could not be kept */
};

void config_errors_init(struct config_errors *errors);
void config_errors_clear(struct config_errors *errors);

/* line 0: the mistake is in no line. */
void config_errors_add(struct config_errors *errors, int line, const char *format, ...)
    PRINTF(3, 4);

/* The same for what is no mistake, but looks like one. */
void config_errors_warn(struct config_errors *errors, int line, const char *format, ...)
    PRINTF(3, 4);

/* Warnings do not count. */
bool config_errors_any(const struct config_errors *errors);

/* One line each: FILE:LINE: text, or FILE: text; for a warning "warning: " comes before the text.
 * Where that leads to the journal each line begins with its priority. */
void config_errors_write(const struct config_errors *errors, const char *file, FILE *out);

/* The same as messages of the log: errors and warnings. */
void config_errors_log(const struct config_errors *errors, const char *file);

#endif
