/* SPDX-License-Identifier: ISC */
/* One request to kaproxy's admin server and its response: HTTP/1.0, one connection each. Everything
 * is bounded, in time and in bytes, whatever the server does. */
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
    usec_t max_time; /* from connecting to the last byte of the response */
    /* What ends the wait: */
    int wake_fd;                       /* this becomes readable; -1: none */
    const sigset_t *mask;              /* the signal mask while it waits; NULL: unchanged */
    volatile const sig_atomic_t *stop; /* this is set; NULL: none */
};

struct answer {
    unsigned status;
    struct buffer body; /* cleared by the caller */
    char error[512];    /* a sentence, when there is no response */
    bool woken;         /* because of wake_fd or stop */
};

/* POST sends the header that it requires. `accept` is the media type. 0, or -1 with
 * answer->error. */
MUST_CHECK int client_ask(const struct client *client, const char *method, const char *target,
                          const char *accept, struct answer *answer);

/* By the monotonic clock. */
usec_t client_now(void);

/* Waits that long; false: it was woken before. */
bool client_sleep(const struct client *client, usec_t span);

#endif
