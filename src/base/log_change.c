/* SPDX-License-Identifier: ISC */
/* Changes of targets while lines are logged: opened by the caller, swapped by the writer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/log_internal.h"

/* A target that blocks for long, such as a hung disk, must not let descriptors pile up. */
#define CHANGES_MAX 16

/* 0, or -1 with an error text. */
static int prepare_sink(struct log_change *change, enum log_sink_index index, const char *name,
                        const char **error)
{
    struct log_target target;
    if (log_sink_has_target(&log_sinks[index], name))
        return 0;
    if (log_target_open(&target, name) < 0) {
        *error = log_open_error(name, errno);
        return -1;
    }
    change->sinks[index].swaps = true;
    change->sinks[index].target = target;
    change->sinks[index].name = strdup(name);
    if (change->sinks[index].name != NULL)
        return 0;
    *error = error_text(ENOMEM);
    return -1;
}

int log_prepare(struct log_change **change, const char *log, const char *access_log,
                const char *errors[2])
{
    int result;
    errors[0] = errors[1] = NULL;
    *change = NULL;
    if (log_writer_changes() >= CHANGES_MAX) {
        errors[0] = "the target of an earlier reload does not accept lines";
        return -1;
    }
    *change = calloc(1, sizeof(**change));
    if (*change == NULL) {
        errors[0] = error_text(ENOMEM);
        return -1;
    }
    result = prepare_sink(*change, LOG_MESSAGES, log, &errors[0]);
    result |= prepare_sink(*change, LOG_ACCESSES, access_log, &errors[1]);
    if (result == 0)
        return 0;
    log_change_free(*change);
    *change = NULL;
    return -1;
}

void log_commit(struct log_change *change, enum log_level level, enum log_format format)
{
    for (int i = 0; i < LOG_SINKS; i++) {
        unsigned form = atomic_load(&log_sinks[i].form);
        enum log_style style = change->sinks[i].swaps ? log_target_style(&change->sinks[i].target)
                                                      : log_form_style(form);
        change->sinks[i].form = LOG_FORM(style, i == LOG_ACCESSES ? format : LOG_FORMAT_LOGFMT);
    }
    log_set_level(level);
    log_writer_change(change);
}

void log_change_free(struct log_change *change)
{
    if (change == NULL)
        return;
    for (int i = 0; i < LOG_SINKS; i++) {
        if (change->sinks[i].swaps)
            log_target_close(&change->sinks[i].target);
        free(change->sinks[i].name);
    }
    free(change);
}
