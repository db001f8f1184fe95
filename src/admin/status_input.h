/* SPDX-License-Identifier: ISC */
/* What the pages are made of: the numbers, what the loop has told last, and when it is. */
#ifndef KAPROXY_STATUS_INPUT_H
#define KAPROXY_STATUS_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/admin_ops.h"
#include "admin/admin_view.h"
#include "admin/history.h"
#include "admin/snapshot.h"
#include "base/util.h"

/* A loop that has owed an answer for so long does not answer. */
#define STATUS_STALLED USEC_PER_SEC

/* All of it is borrowed for the call. */
struct status_input {
    const struct admin_ops *ops;
    const struct admin_view *view;
    const struct history *history; /* of the view's blocks */
    /* The last one that came, NULL: none did yet. With sessions more problems are found. */
    const struct snapshot *snapshot;
    usec_t snapshot_age;
    usec_t unanswered; /* since when the loop owes one; 0: it does not */
    usec_t now;        /* the clock that history_sample has */
    int64_t unix_now;  /* microseconds of Unix time */
    int log_errors[2]; /* log_target_error */
    bool show_sessions;
};

static inline bool status_loop_answers(const struct status_input *input)
{
    return input->unanswered < STATUS_STALLED;
}

#endif
