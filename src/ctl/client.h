/* SPDX-License-Identifier: ISC */
/* One request to kaproxy's admin server and its answer: HTTP/1.0, a connection for each. All of it
 * is bounded, in time and in bytes, whatever is at the other end. */
#ifndef KAPROXY_CTL_CLIENT_H
#define KAPROXY_CTL_CLIENT_H

#include <signal.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/util.h"
#include "net/listen_address.h"

#define CLIENT_ANSWER_MAX (16 * 1024 * 1024)

struct client {
    struct listen_address place;
    usec_t max_time; /* from connecting to the answer's last byte */
    /* Who is waited for no longer: */
    int wake_fd;          /* when this can be read; -1: none */
    const sigset_t *mask; /* the signals that are blocked while it waits; NULL: as they are */
    volatile const sig_atomic_t *stop; /* when it is set; NULL: none */
};

struct answer {
    unsigned status;
    struct buffer body; /* cleared by the caller */
    char error[512];    /* a sentence, when there is no answer */
    bool woken;         /* because of wake_fd or stop */
};

/* POST asks with the header that it needs. `accept` is what is wanted. 0, or -1 with
 * answer->error. */
MUST_CHECK int client_ask(const struct client *client, const char *method, const char *target,
                          const char *accept, struct answer *answer);

/* By the monotonic clock. */
usec_t client_now(void);

/* Waits that long, or until it is woken: false. */
bool client_sleep(const struct client *client, usec_t span);

#endif
