/* SPDX-License-Identifier: ISC */
/* The part of a reload that runs in a thread of its own, kaproxy-reload: reading, checking,
 * opening, and describing the result. */
#ifndef KAPROXY_RELOAD_JOB_H
#define KAPROXY_RELOAD_JOB_H

#include <stdbool.h>

#include "daemon/reload.h"

struct reload_job;

/* What to do. All of it is borrowed until the end of the job; the same holds for what copied fields
 * point to. */
struct reload_work {
    const struct reload_ops *ops;
    struct config *start;        /* of the process; the job has a reference of its own */
    const struct config *before; /* in effect */
    struct mailbox *mailbox;     /* of the thread that starts it */
    void (*done)(struct reload_job *job, void *arg); /* in that thread, when there is a result */
    void *arg;
};

/* NULL with errno when it could not be started: then done is not called. */
struct reload_job *reload_job_start(const struct reload_work *work);

/* Once done was called: the result, a generation with what it changes; or mistakes, one per line,
 * at least one. In both cases there may be warnings, one per line. */
bool reload_job_succeeded(const struct reload_job *job);
struct generation *reload_job_generation(const struct reload_job *job);
const char *reload_job_changes(const struct reload_job *job);
const char *reload_job_report(const struct reload_job *job); /* changes, then warnings */
const char *reload_job_mistakes(const struct reload_job *job);
const char *reload_job_warnings(const struct reload_job *job);

/* The generation is the caller's from now on. */
struct generation *reload_job_take(struct reload_job *job);

/* Waits for the thread, for some seconds. 0: done was called, or will be when the mailbox is run.
 * -1: it was not, and never will be; the job undoes what it did and frees itself, and until then
 * uses what it has borrowed, except for the mailbox. */
int reload_job_wait(struct reload_job *job);

/* Once done was called; NULL is harmless. A generation that was not taken is undone. */
void reload_job_free(struct reload_job *job);

#endif
