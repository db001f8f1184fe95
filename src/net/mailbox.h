/* SPDX-License-Identifier: ISC */
/* Messages from any thread to one: the only way for work to cross from one thread to another.
 *
 * A message is embedded in its sender's struct, so posting it needs no memory and cannot fail, and
 * a mailbox holds at most as many messages as there are senders with one. From mailbox_post until
 * run is called the message belongs to the mailbox, and from then on to the code that runs; that
 * code sees everything the sender wrote before. An answer is the same message, or another one, that
 * run posts to the mailbox of the requesting thread.
 *
 * A mailbox's thread waits until its descriptor is readable, and then calls mailbox_run; a loop
 * does so on its own (loop_mailbox). */
#ifndef KAPROXY_MAILBOX_H
#define KAPROXY_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/util.h"

struct message {
    TAILQ_ENTRY(message) link;
    bool posted;                          /* the mailbox's, like the link */
    void (*run)(struct message *message); /* set by the sender; may free the message */
};

/* Embedded in its owner. */
struct mailbox {
    pthread_mutex_t lock; /* held for a few instructions, never across a system call */
    TAILQ_HEAD(, message) messages;
    size_t count;
    bool rung; /* since mailbox_run last began: once is enough */
    int bell;  /* an eventfd */
};

/* 0, or -1 with errno. */
MUST_CHECK int mailbox_init(struct mailbox *mailbox);

/* To be called when no thread posts any more. Messages that were not run are dropped: they are
 * their senders' again. May be called after a failed init, and more than once. */
void mailbox_clear(struct mailbox *mailbox);

/* Any thread, including the mailbox's own. Messages run in the order in which they are posted;
 * posting a message that is already posted changes nothing. */
void mailbox_post(struct mailbox *mailbox, struct message *message);

/* Withdraws a message that has not run, if it is there: it is its sender's again. Not while any
 * thread may run the mailbox. */
void mailbox_take_back(struct mailbox *mailbox, struct message *message);

/* Readable when there is something to run. */
int mailbox_descriptor(const struct mailbox *mailbox);

/* Runs what was posted so far; anything that arrives meanwhile is left to the next call. */
void mailbox_run(struct mailbox *mailbox);

#endif
