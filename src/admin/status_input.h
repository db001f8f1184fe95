/* SPDX-License-Identifier: ISC */
/* What the pages are made from: the numbers, the last snapshot, and the time. */
#ifndef KAPROXY_STATUS_INPUT_H
#define KAPROXY_STATUS_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/admin_ops.h"
#include "admin/admin_view.h"
#include "admin/history.h"
#include "admin/snapshot.h"
#include "base/util.h"

/* A loop whose answer is overdue by that much is considered stalled. */
#define STATUS_STALLED USEC_PER_SEC

/* All of it is borrowed for the call. */
struct status_input {
    const struct admin_ops *ops;
    const struct admin_view *view;
    const struct history *history; /* of the view's blocks */
    /* The last one, NULL: none yet. With sessions more problems are found. */
    const struct snapshot *snapshot;
    usec_t snapshot_age;
    usec_t unanswered; /* since when the loop's answer is pending; 0: it is not */
    usec_t now;        /* the clock of history_sample */
    int64_t unix_now;  /* microseconds of Unix time */
    int log_errors[2]; /* log_target_error */
    bool show_sessions;
};

static inline bool status_loop_answers(const struct status_input *input)
{
    return input->unanswered < STATUS_STALLED;
}

#endif
