/* SPDX-License-Identifier: ISC */
/* Makes one connection: resolves, then connects to the addresses in RFC 8305 order. Knows no pool.
 *
 * The next address is tried after DIAL_STAGGER, or at once when an attempt fails; the first to
 * connect wins and the others are closed. A family of the name that is late is left to the next
 * dial, unless every address of the other one fails: then it is waited for.
 *
 * A dial that was refused or timed out may be retried, starting with the lookup, after DIAL_PAUSE.
 * Meanwhile it is treated like any dial that has not connected yet (POOL 38). */
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

/* How many of a name's addresses are tried, counted after interleaving the families. */
#define DIAL_ADDRESSES_MAX 16

struct dial_options {
    usec_t connect_timeout;   /* of one try: lookup, connect and handshake together; 0: no limit */
    unsigned connect_retries; /* how often it is retried */
    /* Local address; NULL or AF_UNSPEC: any. Addresses of the other family are not tried. */
    const union address *bind_address;
    struct tls_client *tls; /* borrowed; NULL: no TLS, and then the endpoint has none either */
};

struct dial;

/* Called once when a dial has ended, never from within dialer_start, and not at all after a
 * cancellation. The dial itself no longer exists then. With failure NULL the stream given to
 * dialer_start is connected and watched on the loop, with TCP_NODELAY and keep-alive probes set;
 * its handler is not set. Otherwise the stream is closed, and failure, valid during the call, says
 * why the last attempt failed: function "resolve" with number 0 and the resolver's text; "tls" with
 * number 0 and the text of the handshake's failure; ETIMEDOUT when connect_timeout has expired, as
 * described by dialer_time_is_up; or the function that failed with its errno. */
struct dial_handler {
    /* Set by the dial: the address it is connected to, how long that took from the first attempt on
     * (after the lookup), and how long TLS took after that; 0 without TLS. */
    union address address;
    usec_t connect_time, handshake_time;
    unsigned retries; /* how often it was retried */
    void (*done)(struct dial_handler *handler, const struct failure *failure);
};

/* Starts a dial, which begins with the loop's next step: if it is cancelled before, it connects
 * nowhere and looks up no name (POOL 30). Endpoint and options are copied; bind_address, tls, the
 * resolver and the handler are borrowed until the end, and the dial owns the stream until then.
 * NULL with errno ENOMEM, and done is not called. */
struct dial *dialer_start(struct loop *loop, struct resolver *resolver,
                          const struct endpoint *endpoint, const struct dial_options *options,
                          struct stream *stream, struct dial_handler *handler);

/* Ends a dial in any stage, and closes its stream. NULL is allowed. */
void dialer_cancel(struct dial *dial);

/* Why a dial has not produced a connection when a time limit has expired: ETIMEDOUT, with the
 * function in progress, and a text that names the limit's key and value ("no connection within
 * timeout = 3 s"), and the reason of the last failure if a retry is pending. */
void dialer_time_is_up(const struct dial *dial, const char *key, usec_t limit,
                       struct failure *failure);

/* It is not retried after this try, or after the next one if it is pausing before that. */
void dialer_last_try(struct dial *dial);

/* If no connect_timeout limits it, sets how much longer it may take, and each retry likewise;
 * `key`, borrowed, is the name of the limit in texts. A dial that has a limit keeps it. */
void dialer_limit(struct dial *dial, const char *key, usec_t limit);

/* Whether a dial failed because of a shortage or a mistake on our side, which says nothing about
 * the upstream. */
bool dialer_failed_here(const struct failure *failure);

/* True once a TCP connection is established, even if `done` has not been called yet. Asks the
 * kernel. */
bool dialer_is_connected(struct dial *dial);

#endif
