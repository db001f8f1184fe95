/* SPDX-License-Identifier: ISC */
/* Reloads of the configuration, one at a time, as the control thread sees them: each is read and
 * checked in a thread of its own, kaproxy-reload, then installed by the worker. Whoever asks while
 * one is under way may have changed the file behind it: one more follows, for all of them.
 *
 * What goes wrong is logged, and told to whoever asked; then nothing has changed. */
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

/* An installation on its way. */
struct reload_install {
    struct generation *generation; /* the installer's if ok, else ours again, as it was */
    bool ok;
    const char *error;                            /* why not; valid while done is called */
    void (*done)(struct reload_install *install); /* on the control thread, later, always */
};

/* What a reload is made of. But for `load`, `config` and `undo` all is called on the control
 * thread. */
struct reload_ops {
    void *arg;
    /* In the thread, of which there is one at a time: reads and checks all, and opens what is new.
     * Mistakes and warnings are written as config_load has them. NULL: nothing has changed. */
    struct generation *(*load)(void *arg, FILE *errors);
    /* Valid as long as the generation. */
    const struct config *(*config)(void *arg, const struct generation *generation);
    /* It was never installed. */
    void (*undo)(void *arg, struct generation *generation);
    void (*install)(void *arg, struct reload_install *install);
    uint64_t (*number)(void *arg, const struct generation *generation);
    /* It begins; it is over, whatever the outcome. */
    void (*reloading)(void *arg);
    void (*ready)(void *arg);
    int64_t (*now)(void *arg); /* microseconds of Unix time */
};

/* `config` is in effect, and has this number; it stays valid until another one is installed. What
 * cannot change is compared with it for ever: it is kept. The mailbox is the control thread's, and
 * is borrowed. NULL with ENOMEM. */
struct reload *reload_new(struct mailbox *mailbox, const struct reload_ops *ops,
                          struct config *config, uint64_t number);

/* Asks for a reload, and is not told what comes of it; `by` is for the log ("SIGHUP"). */
void reload_ask(struct reload *reload, const char *by);

/* The same, with an answer. It is borrowed until done is called, which is later, and always. */
void reload_request(struct reload *reload, struct admin_reload *request);

/* While it is held (a handover is under way) none begins: whoever asks waits. */
void reload_hold(struct reload *reload, bool held);

/* From now on nothing is reloaded: what was loaded, or is just being, is undone; whoever asks is
 * answered why, in a text that is kept. Of several the first one holds. */
void reload_stop(struct reload *reload, const char *why);

/* Stops, if it was not, and waits until the thread has ended, or for some seconds: a file may be on
 * a disk that is not there any more. Runs the mailbox, so that all who asked have their answers.
 * False: the thread goes on, and what ops.arg is, and the configuration in effect, are its own for
 * ever. */
bool reload_end(struct reload *reload);

/* Ended, or never asked for anything. NULL is harmless. */
void reload_free(struct reload *reload);

/* Kept as long as the reload. */
const struct reload_stats *reload_get_stats(const struct reload *reload);

#endif
