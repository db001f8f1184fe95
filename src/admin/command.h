/* SPDX-License-Identifier: ISC */
/* What an operator can change while kaproxy runs: carried out by the worker's thread, on behalf of
 * the control thread. */
#ifndef KAPROXY_COMMAND_H
#define KAPROXY_COMMAND_H

#include "base/log.h"

enum command_verb {
    COMMAND_PAUSE,     /* clients wait, connections are closed as they are released */
    COMMAND_RESUME,    /* ends paused and draining */
    COMMAND_RECONNECT, /* existing connections are used up to their release */
    COMMAND_DRAIN,     /* no new work */
    COMMAND_LOG_LEVEL,
    COMMAND_VERBS
};
const char *command_name(enum command_verb verb); /* as in its path: "log-level" */

#define COMMAND_NAME_MAX 256
#define COMMAND_TEXT_MAX 1024

struct command {
    enum command_verb verb;
    /* The command's subject, "" where that was not given. A listener by its name; hosts by the name
     * of their pool, by their upstream (as in the log, or addr:port alone), or by both. Nothing
     * given: all hosts; drain: all listeners; resume: all of both. */
    char pool[COMMAND_NAME_MAX], host[COMMAND_NAME_MAX], listener[COMMAND_NAME_MAX];
    enum log_level level; /* LOG_LEVEL */
    char by[128];         /* who requested it, for the log */

    /* The answer. */
    int status; /* 200; 202: begun, `busy` leases are still to end; 404: no such subject; 409 */
    unsigned matched;            /* hosts or listeners */
    unsigned busy;               /* leases still in use there, or sessions */
    char text[COMMAND_TEXT_MAX]; /* a sentence */

    /* On the control thread; may free it, and make the next request. */
    void (*done)(struct command *command);
};

#endif
