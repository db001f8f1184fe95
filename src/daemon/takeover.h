/* SPDX-License-Identifier: ISC */
/* Taking over from a predecessor: the other end of handover.h, in the new process. */
#ifndef KAPROXY_TAKEOVER_H
#define KAPROXY_TAKEOVER_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/util.h"

struct takeover;

struct takeover_ops {
    void *arg;
    /* We serve, and whoever supervises us knows that we are the main process; or there is no other
     * one. Once. */
    void (*is_main)(void *arg);
    /* The predecessor has ended: comes after is_main, once; the takeover may be freed. */
    void (*is_alone)(void *arg);
};

/* Takes the control channel (inherited.h) and closes it in the end. NULL with ENOMEM, and the
 * channel is closed. */
struct takeover *takeover_new(struct event_base *base, int control, const struct takeover_ops *ops);

/* All is made, and nothing is accepted. Whether the predecessor lets us accept is then told on the
 * places channel, by its end, too. */
void takeover_prepared(struct takeover *takeover);

/* We accept. */
void takeover_serving(struct takeover *takeover);

/* NULL is harmless. */
void takeover_free(struct takeover *takeover);

/* The channel's words. */
#define TAKEOVER_PREPARED "prepared"
#define TAKEOVER_SERVING  "serving"
#define TAKEOVER_MAIN     "main"
#define TAKEOVER_MISTAKE  "mistake " /* and what it is: why there will be no other word */
#define TAKEOVER_WORD_MAX 512

/* Says a word. The other end hears it, or has ended. */
void takeover_say(int control, const char *word);

/* Its length; 0: the other end is closed, -1: there is none yet. */
int takeover_hear(int control, char word[TAKEOVER_WORD_MAX]);

#endif
