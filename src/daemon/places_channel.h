/* SPDX-License-Identifier: ISC */
/* The channel on which two processes share places, a SOCK_SEQPACKET socket. Messages are text, and
 * say how many places of a host the sender means.
 *
 *     host SEQ PLACES WANT HELD KEY    the old process may have so many open, and wants more
 *     grant SEQ PLACES KEY             the answer to that message: so many
 *     all                              each of the old process's hosts was sent
 *
 * KEY is the name of a pool, an endpoint, and the digest of its TLS settings, separated by tabs. */
#ifndef KAPROXY_PLACES_CHANNEL_H
#define KAPROXY_PLACES_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "net/endpoint.h"
#include "net/loop.h"
#include "pool/pool.h"

/* A larger number of places is a mistake. */
#define PLACES_MOST 1000000

#define PLACES_KEY_MAX (POOL_NAME_MAX + 1 + ENDPOINT_TEXT_MAX + 2 * TLS_DIGEST_SIZE + 1)

struct places_message {
    enum places_kind { PLACES_HOST, PLACES_GRANT, PLACES_ALL } kind;
    uint64_t seq; /* from 1 on */
    unsigned places, want, held;
    const char *key;
};

struct places_channel {
    struct loop *loop;
    int fd; /* -1: it has ended */
    struct watch watch;
    bool waits; /* until it is writable */
    /* Set by its user. None of them may clear the channel. */
    void (*received)(struct places_channel *channel, const struct places_message *message);
    void (*writable)(struct places_channel *channel);
    void (*ended)(struct places_channel *channel); /* by the other end, or an error */
};

/* Takes the descriptor. 0, or -1 with errno: it is still the caller's. */
MUST_CHECK int places_channel_init(struct places_channel *channel, struct loop *loop, int fd);
void places_channel_clear(struct places_channel *channel);

/* False: nothing was sent, and `writable` will be called, unless the channel has ended. */
bool places_channel_send(struct places_channel *channel, const struct places_message *message);

char *places_format_key(const struct pool *pool, const struct endpoint *endpoint,
                        char key[PLACES_KEY_MAX]);

#endif
