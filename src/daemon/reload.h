/* SPDX-License-Identifier: ISC */
/* Reloads of the configuration, one at a time, as the control thread sees them: each is read and
 * checked in a thread of its own, kaproxy-reload, then installed by the worker. The file may have
 * changed after a reload that is under way has read it; so requests that arrive meanwhile cause one
 * more, which answers all of them.
 *
 * Failures are logged and reported to the requester; then nothing has changed. */
#ifndef KAPROXY_RELOAD_H
#define KAPROXY_RELOAD_H

#include <stdint.h>
#include <stdio.h>

#include "admin/admin_reload.h"
#include "admin/reload_stats.h"
#include "base/util.h"
#include "config/config.h"
#include "net/mailbox.h"

struct generation;
struct reload;

/* An installation under way. */
struct reload_install {
    struct generation *generation; /* the installer's if ok, else ours again, unchanged */
    bool ok;
    const char *error;                            /* the reason; valid while done is called */
    void (*done)(struct reload_install *install); /* on the control thread, later, always */
};

/* What a reload consists of. All is called on the control thread, except for `load`, `config` and
 * `undo`. */
struct reload_ops {
    void *arg;
    /* In the thread, of which there is one at a time: reads and checks everything, and opens what
     * is new. Mistakes and warnings are written as by config_load. NULL: nothing has changed. */
    struct generation *(*load)(void *arg, FILE *errors);
    /* Valid as long as the generation. */
    const struct config *(*config)(void *arg, const struct generation *generation);
    /* It was never installed. */
    void (*undo)(void *arg, struct generation *generation);
    void (*install)(void *arg, struct reload_install *install);
    uint64_t (*number)(void *arg, const struct generation *generation);
    /* A reload begins; it is over, whatever the outcome. */
    void (*reloading)(void *arg);
    void (*ready)(void *arg);
    int64_t (*now)(void *arg); /* microseconds of Unix time */
};

/* `config` is in effect, and has this number; it stays valid until another one is installed. It is
 * kept, since keys that cannot change are compared with it. The mailbox is the control thread's,
 * and is borrowed. NULL with ENOMEM. */
struct reload *reload_new(struct mailbox *mailbox, const struct reload_ops *ops,
                          struct config *config, uint64_t number);

/* Requests a reload without an answer; `by` is for the log ("SIGHUP"). */
void reload_ask(struct reload *reload, const char *by);

/* The same, with an answer. The request is borrowed until done is called, which is later, and
 * always. */
void reload_request(struct reload *reload, struct admin_reload *request);

/* No reload begins while it is held, which is while a handover is under way; requests wait. */
void reload_hold(struct reload *reload, bool held);

/* From now on nothing is reloaded: what was loaded, or is being loaded, is undone; requests are
 * answered with the reason, a text that is kept. The first call holds. */
void reload_stop(struct reload *reload, const char *why);

/* Stops it, if it was not stopped, and waits until the thread has ended, or for some seconds, since
 * a file may be on a disk that no longer responds. Runs the mailbox, so that all requests are
 * answered. False: the thread continues, and ops.arg and the configuration in effect must live as
 * long as the process. */
bool reload_end(struct reload *reload);

/* Stopped, or never used. NULL is harmless. */
void reload_free(struct reload *reload);

/* Kept as long as the reload. */
const struct reload_stats *reload_get_stats(const struct reload *reload);

#endif
