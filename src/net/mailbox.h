/* SPDX-License-Identifier: ISC */
/* Messages from any thread to one: the only way in which work crosses from one thread to another.
 *
 * A message is embedded in its sender's struct, so that posting it takes no memory and cannot fail,
 * and a mailbox holds no more messages than there are senders with one. From mailbox_post until run
 * is called the message belongs to the mailbox, and from then on to whoever runs it; what its
 * sender wrote before is seen there. So an answer is the same message, or another one, that run
 * posts to the mailbox of the thread that asked.
 *
 * The thread that a mailbox is of waits until its descriptor is readable, and then calls
 * mailbox_run; a loop does that by itself (loop_mailbox). */
#ifndef KAPROXY_MAILBOX_H
#define KAPROXY_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/util.h"

struct message {
    TAILQ_ENTRY(message) link;
    bool posted;                          /* the mailbox's, as is the link */
    void (*run)(struct message *message); /* set by the sender; may free the message */
};

/* Embedded in its owner. */
struct mailbox {
    pthread_mutex_t lock; /* held for a few instructions, never across a system call */
    TAILQ_HEAD(, message) messages;
    size_t count;
    bool rung; /* since mailbox_run began last: once is enough */
    int bell;  /* an eventfd */
};

/* 0, or -1 with errno. */
MUST_CHECK int mailbox_init(struct mailbox *mailbox);

/* When nobody posts any more. Messages that were not run are forgotten: then they are their
 * senders' again. Harmless after an init that failed, and a second time. */
void mailbox_clear(struct mailbox *mailbox);

/* Any thread, the mailbox's own too. Messages run in the order in which they are posted; posting
 * one that is posted already changes nothing. */
void mailbox_post(struct mailbox *mailbox, struct message *message);

/* Takes one out that has not been run, if it is there: it is its sender's again. Not while anybody
 * may run the mailbox. */
void mailbox_take_back(struct mailbox *mailbox, struct message *message);

/* Readable when there is something to run. */
int mailbox_descriptor(const struct mailbox *mailbox);

/* Runs what was posted so far; what comes meanwhile is for the next call. */
void mailbox_run(struct mailbox *mailbox);

#endif
