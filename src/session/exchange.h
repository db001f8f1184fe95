/* SPDX-License-Identifier: ISC */
/* The engine of framed protocols: what their exchanges have in common. A client's exchanges follow
 * one another; for each one it requests a connection from the pool, and releases it when the
 * framing says that request and response are complete. The protocol parses, composes, and calls
 * these functions; it is asked (struct exchange_protocol) for what only it can know, and never
 * driven.
 *
 *   exchange.c        the stages of an exchange; bytes for the client
 *   exchange_send.c   bytes for the upstream; what is held for a retry
 *   exchange_bulk.c   large payload of known length
 *   exchange_retry.c  sending a request again
 *   exchange_leave.c  a client that leaves while its request is under way (abort_on_close)
 *   exchange_end.c    the end of an exchange, and of its client
 *   exchange_run.c    a client's run, when it is watched, its timer; tunnels
 *
 * A step works on one session. It returns STEP_GONE when it has ended the session, of which nothing
 * may then be touched. */
#ifndef KAPROXY_EXCHANGE_H
#define KAPROXY_EXCHANGE_H

#include <assert.h>
#include <sys/uio.h>

#include "base/buffer.h"
#include "net/departure.h"
#include "net/relay.h"
#include "session/protocol.h"

/* Request body read ahead before a connection is requested; without request_buffering: held while
 * it is sent, for a retry. */
#define EXCHANGE_AHEAD_MAX (64 * 1024)

/* Response buffered for a slow client before the upstream has to wait. */
#define EXCHANGE_DOWN_MAX (256 * 1024)

/* With less room left than that, nothing more is read. */
#define EXCHANGE_DOWN_STEP (64 * 1024)

/* Payload read in one run: no read returns more, and none follows once that much was read. */
#define EXCHANGE_PIECE (256 * 1024)

/* Normally, how long a client is not watched while nothing depends on it. */
#define EXCHANGE_WATCH_AFTER (1 * USEC_PER_SEC)

/* After our last byte, how long we read on, so that a reset does not destroy it, and how much. */
#define EXCHANGE_LINGER     (5 * USEC_PER_SEC)
#define EXCHANGE_LINGER_MAX (256U * 1024 * 1024)

/* A larger response may not have left completely when its last byte was written, though the socket
 * was never full. */
#define EXCHANGE_MUCH (16 * 1024)

/* How often a silent client is checked meanwhile: has it received everything? */
#define EXCHANGE_LINGER_CHECK (USEC_PER_SEC / 5)

enum step {
    STEP_AGAIN,   /* the state has changed; continue at once */
    STEP_BLOCKED, /* until a stream becomes ready */
    STEP_YIELD,   /* there is more to do, after others had their turn */
    STEP_GONE,    /* the session has ended */
    STEP_DONE     /* the run reached an end of its own, and the session may have ended */
};

/* What the upstream has of the request. exchange_set_up_stage makes the transitions; its table
 * lists the legal ones. */
enum up_stage {
    UP_NONE,    /* nothing: its header is not composed yet */
    UP_QUEUED,  /* nothing, on the current connection */
    UP_STARTED, /* some of it, or all */
    UP_FAILED,  /* it takes no more, and may have responded before */
    UP_RESET,   /* the same, and it did not end in order */
    UP_STAGES
};

/* What has come of the response; set by exchange_set_down_stage, in the same way. */
enum down_stage {
    DOWN_NONE,
    DOWN_STARTED,   /* something */
    DOWN_INTERIM,   /* a complete 1xx, in order */
    DOWN_COMPOSED,  /* the final one, or a local reply, ready to be written */
    DOWN_COMMITTED, /* the client has bytes of it */
    DOWN_CUT,       /* it is truncated */
    DOWN_STAGES
};

/* One request with its response: the engine's part. A protocol's own struct begins with it. */
struct exchange {
    /* Bytes for the upstream, in this order: the header and what follows it; `ahead`, which was
     * read before there was a connection; what came after that, and the end. While it may be
     * retried: all of the request so far. */
    struct buffer up, ahead, tail;
    size_t up_sent;                  /* of all three */
    struct relay bulk_up, bulk_down; /* of body buffers; their contents precede `up` and `down` */
    struct buffer response_in;       /* bytes from the upstream that are not parsed yet */
    enum up_stage up_stage;
    enum down_stage down_stage;
    /* Why the connection cannot be reused, as far as the response has shown; POOL_DISCARD_COUNT: no
     * reason so far. */
    enum pool_discard unfit;
    bool secret;           /* what is buffered for the upstream is wiped before it is freed */
    bool replayable;       /* all that was sent of the request is held, from its first byte on */
    uint8_t tries;         /* number of retries */
    usec_t sent_at;        /* when some of it was last sent on the current connection; 0: never */
    usec_t first_byte_at;  /* when the response began; 0: it has not */
    struct conn_info conn; /* for the access log; number 0: none recorded yet */
};

struct client;

/* What a protocol knows about its client between two calls: a set of these. */
enum {
    CLIENT_IS_SENDING = 1, /* the rest of its request is to be read */
    CLIENT_HAD_BODY = 2,   /* its request has, or had, a body */
    CLIENT_MAY_GO_ON = 4   /* another request from it is likely */
};

/* What only the protocol knows. */
struct exchange_protocol {
    /* READING and RELAYING (unless it is a tunnel): one step. */
    enum step (*read)(struct client *client);
    enum step (*relay)(struct client *client);
    /* For how long nothing may move at present; 0: unlimited. */
    usec_t (*quiet_max)(const struct client *client);
    /* Nothing moved for that long, or a limit has passed: replies, or ends the client. Not called
     * for clients that linger, nor for tunnels. */
    enum step (*time_is_over)(struct client *client);
    /* The connection is dead: a retry, or a local reply. */
    enum step (*unacked)(struct client *client);
    /* Does the client's end, unless it is a half-close, end its request, waiting in the queue or
     * not? */
    bool (*ends_request)(const struct client *client, bool waits);
    unsigned (*traits)(const struct client *client);
    /* Is what was sent of the request harmless when repeated? */
    bool (*is_idempotent)(const struct exchange *exchange);
    /* The exchange is retried: counts that. */
    void (*sent_again)(struct client *client);
    /* The upstream's connection ended before anything of the response came, and the request is not
     * to be retried: a local reply. */
    enum step (*upstream_failed)(struct client *client, enum pool_discard reason);
    /* The exchange, if there is one, is over: logs it (its end is client->end), if exchanges are
     * logged, counts it, and frees it. */
    void (*ended)(struct client *client);
    /* READING again, between two requests: sets the time limit. */
    void (*idle)(struct client *client);
};

/* A session whose exchanges follow one another. A protocol's own struct begins with it. */
struct client {
    struct session session;
    const struct exchange_protocol *ops;
    struct buffer in;          /* bytes from the client that are not parsed yet */
    struct buffer down;        /* for the client */
    struct exchange *exchange; /* NULL between requests */
    struct duplex *tunnel;     /* a tunnel from now on; NULL: it is not */
    union {
        usec_t watch_at;       /* limit_at limits no more than the time without a watch */
        usec_t linger_until;   /* LINGERING */
        usec_t affinity_until; /* READING with a connection: when that ends; 0: no limit */
    };
    usec_t read_at;           /* when bytes of the client were last read */
    enum departure departure; /* what its end means; NONE: not noticed, or not asked */
    uint32_t taken;           /* bytes read in this run */
    uint32_t linger_left;     /* LINGERING: how many bytes may still be discarded */
    enum session_end end;     /* how the exchange ended; only the last one other than COMPLETE */
    bool served;              /* had an exchange before */
    bool wrote_much;          /* had a response of more than EXCHANGE_MUCH bytes */
    bool affinity;            /* NTLM, Negotiate: the connection is this client's until it ends */
    bool client_ended;        /* the client's EOF was seen; it may still read */
    bool sees_end;            /* from just after read_at on its end would have been noticed */
    bool sent_since_read;     /* what was written to it may be acknowledged later than read_at */
    bool last;                /* the client's connection ends with this exchange */
};

static inline bool exchange_is_leased(const struct client *client)
{
    return pool_is_leased(&client->session.allocation);
}

/* The most that one read returns. */
static inline size_t exchange_read_max(const struct client *client)
{
    size_t size = client->session.context->worker.scratch.size;
    return size < EXCHANGE_PIECE ? size : EXCHANGE_PIECE;
}

static inline bool exchange_up_failed(const struct exchange *exchange)
{
    return exchange->up_stage >= UP_FAILED;
}

static inline bool exchange_response_started(const struct exchange *exchange)
{
    return exchange->down_stage >= DOWN_STARTED;
}

static inline bool exchange_response_committed(const struct exchange *exchange)
{
    return exchange->down_stage >= DOWN_COMMITTED;
}

/* exchange.c */

/* A new exchange of the protocol begins, all zero. */
void exchange_begin(struct client *client, struct exchange *exchange);
/* Frees what is buffered for the upstream. */
void exchange_clear_up(struct exchange *exchange);
/* Frees the engine's part. */
void exchange_clear(struct exchange *exchange);

/* The legal transitions: rows are "from". */
extern const bool exchange_up_moves[UP_STAGES][UP_STAGES];
extern const bool exchange_down_moves[DOWN_STAGES][DOWN_STAGES];

static inline void exchange_set_up_stage(struct exchange *exchange, enum up_stage to)
{
    assert(exchange_up_moves[exchange->up_stage][to]);
    exchange->up_stage = to;
}

static inline void exchange_set_down_stage(struct exchange *exchange, enum down_stage to)
{
    assert(exchange_down_moves[exchange->down_stage][to]);
    exchange->down_stage = to;
}

/* Records why the connection cannot be reused; the first reason is kept. */
void exchange_set_unfit(struct exchange *exchange, enum pool_discard reason);

static inline void exchange_moved(struct client *client)
{
    client->session.moved_at = loop_now(client->session.context->worker.loop);
}

/* This many bytes were read, from either side. */
static inline void exchange_took(struct client *client, uint64_t length)
{
    client->taken += (uint32_t)length;
    exchange_moved(client);
}

/* This many bytes for the client were written. */
void exchange_wrote_down(struct client *client, uint64_t length);
/* `in` and `response_in` borrow bytes that were read into scratch memory: call it before that
 * memory is reused, and before others have their turn. 0, or -1 with ENOMEM. */
MUST_CHECK static inline int exchange_own_buffers(struct client *client)
{
    struct exchange *exchange = client->exchange;
    if (buffer_is_borrowed(&client->in) && buffer_own(&client->in) < 0)
        return -1;
    if (exchange != NULL && buffer_is_borrowed(&exchange->response_in))
        return buffer_own(&exchange->response_in);
    return 0;
}

/* Ends the session at once, as session_finish does. */
enum step exchange_finish(struct client *client, enum session_end end);
/* Is anything buffered for the client? */
bool exchange_has_down(const struct client *client);
/* Must the client receive what is buffered for it, or send more of its request, before the upstream
 * can do anything? For a session that relays; false for a tunnel. */
bool exchange_waits_for_client(const struct session *session);
/* Writes what is buffered for the client. STEP_AGAIN: all of it is written. */
enum step exchange_flush(struct client *client);
/* READING: sets the time limit, 0 for none; that of the connection applies if it is earlier. */
void exchange_limit_reading(struct client *client, usec_t limit);

/* exchange_send.c */

/* What is buffered for the upstream, sent or not. */
static inline size_t exchange_up_length(const struct exchange *exchange)
{
    return buffer_length(&exchange->up) + buffer_length(&exchange->ahead) +
           buffer_length(&exchange->tail);
}

/* Has the kernel taken all that was composed for the upstream? */
static inline bool exchange_is_sent(const struct exchange *exchange)
{
    return exchange->up_stage == UP_NONE ||
           (exchange->up_sent == exchange_up_length(exchange) && !relay_keeps(&exchange->bulk_up));
}

/* Writes it. STEP_AGAIN: everything is written, or the upstream takes no more. */
enum step exchange_send(struct client *client);
/* This many bytes for the upstream were written by other means. */
void exchange_sent(struct client *client, uint64_t length);
/* A write to the upstream failed, with errno. */
void exchange_give_up_sending(struct client *client);
/* All that was composed is sent, and will not be retried. */
void exchange_drop_sent(struct exchange *exchange);

/* Writes the backlog and then the pieces, in one call, as far as the stream takes them; the rest
 * becomes the backlog. The number of bytes written, or -1 with errno, ENOMEM included. Without a
 * stream everything is appended to the backlog. The first piece is reserved for the backlog. */
#define EXCHANGE_PIECES_MAX 4
MUST_CHECK ssize_t exchange_pass(struct stream *to, struct buffer *backlog,
                                 struct iovec pieces[1 + EXCHANGE_PIECES_MAX], int count);

/* exchange_bulk.c */

/* The middle of a large body of known length is moved by a relay, without being parsed. Its end is
 * read like that of any other body. */
struct exchange_bulk {
    struct relay *relay;
    uint64_t rest; /* how much of the body is still to come */
    struct stream *from, *to;
};

/* Is a middle next? It may be moved when nothing is buffered before it. */
bool exchange_is_bulk(const struct relay *relay, uint64_t rest);
/* Moves some of it; relay->taken says how much. */
enum relay_result exchange_move(struct client *client, const struct exchange_bulk *bulk);
/* What to do after moving, if nothing ended or failed. */
enum step exchange_after_bulk(const struct relay *relay, enum relay_result result);

/* exchange_retry.c */

/* Could the request be retried, considering what was sent of it? */
bool exchange_may_retry(const struct client *client);
/* The upstream's connection ended before anything of the response came, or it brought what cannot
 * be one: retries the request, or has the protocol reply. */
enum step exchange_retry(struct client *client, enum pool_discard reason);
/* `what` is all that the upstream has sent, and may refer to something before this request: retries
 * it, if permitted. */
bool exchange_replay(struct client *client, const char *what);

/* exchange_leave.c. These end the session if the client broke its connection, or has left and
 * abort_on_close applies; else STEP_AGAIN. */

/* The client has ended, or its connection is broken. */
enum step exchange_check_end(struct client *client);
/* While a request is under way, after events. */
static inline enum step exchange_check_client(struct client *client)
{
    const struct stream *stream = &client->session.client;
    return stream->broken || stream->hangup ? exchange_check_end(client) : STEP_AGAIN;
}

/* The request is about to be queued: the event that reported its last bytes may have reported the
 * end as well, and there will be no other one. */
enum step exchange_check_queued(struct client *client);
/* The client was not watched so far, and will be from now on. */
enum step exchange_check_unwatched(struct client *client);
/* A connection was granted, and nothing is sent yet. Costs nothing if the request is too young for
 * an end to matter. */
enum step exchange_check_granted(struct client *client);
/* Bytes of the client were read. Its end may have come along with them, and both long ago, while an
 * earlier response was being sent: that is acknowledged later, and an end that comes with a request
 * is never late. */
void exchange_note_read(struct client *client);
/* The same, when the client begins to be watched. */
void exchange_note_watch(struct client *client);
/* How long a client on which nothing depends stays unwatched now. */
usec_t exchange_watch_after(const struct client *client);

/* exchange_end.c */

/* What is buffered for the client is its last response; it is sent, and the client ends. */
enum step exchange_end(struct client *client, enum session_end end);
/* The response is truncated; nothing is leased any more. What came of it is delivered before the
 * client ends, since its framing shows that it is incomplete. A response without framing is
 * truncated by the protocol, with a reset. */
enum step exchange_cut(struct client *client, enum session_end end);
/* Ends in order a client that has all there is for it, as far as we are concerned: closes at once,
 * or lingers where a reset could follow. A lease is discarded. */
enum step exchange_end_client(struct client *client);
/* DRAINING: the rest of the response, then the next request, or the end. */
enum step exchange_drain_step(struct client *client);
/* LINGERING: discards what the client still sends. */
enum step exchange_linger_step(struct client *client);
enum step exchange_linger_timed_out(struct client *client);

/* exchange_run.c; members of struct protocol, except for the last two. */

void exchange_run(struct session *session);
void exchange_on_timeout(struct session *session);
void exchange_on_unacked(struct session *session);
void exchange_on_drain(struct session *session);
struct conn_info *exchange_conn_info(struct session *session);
/* From here on a tunnel: bytes in both directions, whatever they mean; what is buffered goes
 * first. */
enum step exchange_open_tunnel(struct client *client);
/* Frees a client's part, except for its exchange. */
void exchange_clear_client(struct client *client);

#endif
