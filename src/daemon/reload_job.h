/* SPDX-License-Identifier: ISC */
/* The part of a reload that is done in a thread of its own, kaproxy-reload: reading, checking,
 * opening, and putting into words what came of it. */
#ifndef KAPROXY_RELOAD_JOB_H
#define KAPROXY_RELOAD_JOB_H

#include <stdbool.h>

#include "daemon/reload.h"

struct reload_job;

/* What is to be done. All of it is borrowed until the end of the job, and of what is copied the
 * same holds for what it points to. */
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

/* From done on. The result: a generation, and what it changes; or mistakes, a line each, at least
 * one. Warnings, a line each, there may be in both cases. */
bool reload_job_succeeded(const struct reload_job *job);
struct generation *reload_job_generation(const struct reload_job *job);
const char *reload_job_changes(const struct reload_job *job);
const char *reload_job_report(const struct reload_job *job); /* changes, and then the warnings */
const char *reload_job_mistakes(const struct reload_job *job);
const char *reload_job_warnings(const struct reload_job *job);

/* The generation is the caller's from now on. */
struct generation *reload_job_take(struct reload_job *job);

/* Waits for the thread, for some seconds. 0: done was called, or will be when the mailbox is run.
 * -1: it was not, and never will be; the job frees itself, after it has undone what it did, and
 * until then uses what it has borrowed, but for the mailbox. */
int reload_job_wait(struct reload_job *job);

/* From done on; NULL is harmless. A generation that nobody took is undone. */
void reload_job_free(struct reload_job *job);

#endif
