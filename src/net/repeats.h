/* SPDX-License-Identifier: ISC */
/* Messages of one kind that repeat: the first is logged at once. Further ones are counted, and
 * every 10 s a line says how many there were, until a span without any. The next one is then a
 * first one again. If log_level is debug, each one is logged. */
#ifndef KAPROXY_REPEATS_H
#define KAPROXY_REPEATS_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/util.h"
#include "net/loop.h"

#define REPEATS_SPAN (10 * USEC_PER_SEC)

/* How many kinds are tracked at a time; any others are counted together. */
#define REPEATS_KINDS 16

/* What makes a message the same as another one of its owner: everything but the client it is about,
 * and numbers in the text ("3 waiting", "4 waiting"). */
struct repeat_key {
    const char *place;    /* identifies the message; static */
    const char *function; /* the one that failed; "" if none; static */
    int number;           /* its errno, or a status */
    unsigned round;       /* a higher one makes it a first one again; see pool_recoveries */
    const char *text;
};

/* What one owner has logged recently, embedded in it. */
struct repeats {
    struct loop *loop;
    struct timer timer;                   /* set while there are entries */
    TAILQ_HEAD(repeat_list, repeat) list; /* by the start of their spans */
    unsigned count;
    struct repeat *others; /* in the list: for any kind; or NULL */
};

void repeats_init(struct repeats *repeats, struct loop *loop);

/* Reports what was counted, and frees everything. */
void repeats_clear(struct repeats *repeats);

/* Is this message to be logged? Then the caller composes it, and calls repeats_log. Otherwise it
 * was counted, or its level is disabled. */
MUST_CHECK bool repeats_admit(struct repeats *repeats, enum log_level level,
                              const struct repeat_key *key);

/* Logs "HEAD client=CLIENT REST", and later, if there were more, "HEAD client=* REST (37 more like
 * this in 10 s)"; without the client if that is NULL. */
void repeats_log(struct repeats *repeats, enum log_level level, const struct repeat_key *key,
                 const char *head, const char *client, const char *rest);

#endif
