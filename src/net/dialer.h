/* SPDX-License-Identifier: ISC */
/* Makes one connection: resolve, connect to the addresses in RFC 8305 order. Knows no pool.
 *
 * The next address is tried after DIAL_STAGGER, or at once when an attempt fails; the first that
 * connects wins and the others are closed. A family of the name that is late is for the next dial,
 * unless all of the other one fails: then it is waited for.
 *
 * A dial that was refused or timed out may be tried again, from the lookup on, DIAL_PAUSE later:
 * meanwhile it is a dial like any other that has not connected (POOL 38). */
#ifndef KAPROXY_DIALER_H
#define KAPROXY_DIALER_H

#include <stdbool.h>

#include "base/failure.h"
#include "base/util.h"
#include "net/endpoint.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/stream.h"

#define DIAL_STAGGER (250 * USEC_PER_MSEC) /* RFC 8305 section 5: Connection Attempt Delay */

#define DIAL_PAUSE (1 * USEC_PER_SEC)

/* So many of a name's addresses are tried, counted after the families were interleaved. */
#define DIAL_ADDRESSES_MAX 16

struct dial_options {
    usec_t connect_timeout;   /* of one try: lookup, connect and handshake together; 0: no limit */
    unsigned connect_retries; /* how often it is tried again */
    /* Local address; NULL or AF_UNSPEC: any. Addresses of the other family are not tried. */
    const union address *bind_address;
    struct tls_client *tls; /* borrowed; NULL: no TLS, which the endpoint must not have either */
};

struct dial;

/* Told once how a dial ended, never from inside dialer_start, and not at all once cancelled. The
 * dial itself is gone when this is called. With failure NULL the stream given to dialer_start is
 * connected, watched on the loop, TCP_NODELAY and keep-alive probes are set; its handler is not.
 * Else the stream is closed and failure, valid during the call, tells why the last attempt failed:
 * function "resolve" with number 0 and the resolver's text; "tls" with number 0 and the text of the
 * handshake's failure; ETIMEDOUT when connect_timeout is up, as dialer_time_is_up says it; or the
 * function that failed with its errno. */
struct dial_handler {
    /* Set by the dial: whom the stream is connected to, and how long that took from the first
     * attempt on (the lookup is over by then), and TLS after it; 0 without TLS. */
    union address address;
    usec_t connect_time, handshake_time;
    unsigned retries; /* how often it was tried again */
    void (*done)(struct dial_handler *handler, const struct failure *failure);
};

/* Starts a dial, which begins with the loop's next step: one that is cancelled before that connects
 * nowhere and asks for no name (POOL 30). Endpoint and options are copied; bind_address, tls, the
 * resolver and the handler are borrowed until the end, and the stream belongs to the dial until
 * then. NULL with errno ENOMEM, and done is not called. */
struct dial *dialer_start(struct loop *loop, struct resolver *resolver,
                          const struct endpoint *endpoint, const struct dial_options *options,
                          struct stream *stream, struct dial_handler *handler);

/* Ends a dial in any stage, and closes its stream. NULL is harmless. */
void dialer_cancel(struct dial *dial);

/* Why a dial has brought no connection when a time limit is up: ETIMEDOUT, with the function that
 * it is at, and a text that names the limit's key and value ("no connection within timeout = 3 s"),
 * and why the last try failed, when another one is to come. */
void dialer_time_is_up(const struct dial *dial, const char *key, usec_t limit,
                       struct failure *failure);

/* It is not tried again after this try, or the next one if it is in the pause before that. */
void dialer_last_try(struct dial *dial);

/* Where no connect_timeout limits it, it may take so long from now on, and so may each further try;
 * `key`, borrowed, is what a text calls that. One that has a limit keeps it. */
void dialer_limit(struct dial *dial, const char *key, usec_t limit);

/* Whether a dial failed by a shortage or a mistake of ours, which says nothing of the upstream. */
bool dialer_failed_here(const struct failure *failure);

/* True once a TCP connection is made, even if `done` was not called yet. Asks the kernel. */
bool dialer_is_connected(struct dial *dial);

#endif
