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
    /* We serve, and the service manager knows that we are the main process; or there is no
     * predecessor any more. Once. */
    void (*is_main)(void *arg);
    /* The predecessor has ended: called after is_main, once; the takeover may be freed. */
    void (*is_alone)(void *arg);
};

/* Takes the control channel (inherited.h) and closes it in the end. NULL with ENOMEM, and the
 * channel is closed. */
struct takeover *takeover_new(struct event_base *base, int control, const struct takeover_ops *ops);

/* Everything is set up, and nothing is accepted. The predecessor lets us accept on the places
 * channel, also by closing it. */
void takeover_prepared(struct takeover *takeover);

/* We accept. */
void takeover_serving(struct takeover *takeover);

/* NULL is harmless. */
void takeover_free(struct takeover *takeover);

/* The channel's words. */
#define TAKEOVER_PREPARED "prepared"
#define TAKEOVER_SERVING  "serving"
#define TAKEOVER_MAIN     "main"
#define TAKEOVER_MISTAKE  "mistake " /* the reason why there will be no other message */
#define TAKEOVER_WORD_MAX 512

/* Sends a word. The other end receives it, or has ended. */
void takeover_say(int control, const char *word);

/* Its length; 0: the other end is closed, -1: no message yet. */
int takeover_hear(int control, char word[TAKEOVER_WORD_MAX]);

#endif
