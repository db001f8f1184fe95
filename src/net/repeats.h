/* SPDX-License-Identifier: ISC */
/* Messages of one kind that come again and again: the first is logged at once; further ones are
 * counted, and every 10 s a line says how many there were, until none came for 10 s. Then the next
 * is a first one again. While log_level is debug each one is logged. */
#ifndef KAPROXY_REPEATS_H
#define KAPROXY_REPEATS_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/util.h"
#include "net/loop.h"

#define REPEATS_SPAN (10 * USEC_PER_SEC)

/* So many kinds are kept apart at a time; what is beyond that is counted together. */
#define REPEATS_KINDS 16

/* What makes a message the same as another one of its owner's: everything but the client that it is
 * about, and numbers in the text ("3 waiting", "4 waiting"). */
struct repeat_key {
    const char *place;    /* which message it is; static */
    const char *function; /* that failed; "" where there is none; static */
    int number;           /* its errno, or a status */
    unsigned round;       /* a higher one makes it a first one again; see pool_recoveries */
    const char *text;
};

/* What one owner has logged lately, embedded in it. */
struct repeats {
    struct loop *loop;
    struct timer timer;                   /* set while there are any */
    TAILQ_HEAD(repeat_list, repeat) list; /* by the begin of their spans */
    unsigned count;
    struct repeat *others; /* in the list: of any kind; or NULL */
};

void repeats_init(struct repeats *repeats, struct loop *loop);

/* Reports what was counted, and frees all. */
void repeats_clear(struct repeats *repeats);

/* Is this one to be logged? Then the caller puts it together, and calls repeats_log. If not, it was
 * counted, or its level is off. */
MUST_CHECK bool repeats_admit(struct repeats *repeats, enum log_level level,
                              const struct repeat_key *key);

/* Logs "HEAD client=CLIENT REST", and later, when there were more, "HEAD client=* REST (37 more
 * like this in 10 s)"; without the client where that is NULL. */
void repeats_log(struct repeats *repeats, enum log_level level, const struct repeat_key *key,
                 const char *head, const char *client, const char *rest);

#endif
