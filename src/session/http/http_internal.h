/* What the files of the http session share; for http*.c alone.
 *
 *   http.c           one client: its exchanges one after another
 *   http_exchange.c  what all parts of an exchange need: its struct, bytes for the client
 *   http_time.c      time limits
 *   http_request.c   client to upstream: reads a request ahead, asks, sends
 *   http_response.c  upstream to client: passes the answer on, gives the connection back
 *   http_body.c      payload, in either direction
 *   http_bulk.c      much of it
 *   http_answer.c    answers of our own, sending it again, tunnels
 *   http_end.c       the end of an exchange, and of its client
 *   http_leave.c     a client that leaves in the middle of one
 *
 * A step works on one session. It says STEP_GONE when it has ended it: then nothing of it may be
 * touched any more. */
#ifndef KAPROXY_HTTP_INTERNAL_H
#define KAPROXY_HTTP_INTERNAL_H

#include "base/buffer.h"
#include "http1/http1.h"
#include "net/departure.h"
#include "session/protocol.h"

/* Request body read ahead before a connection is asked for; without request_buffering: held while
 * it is sent, in case it has to be sent again. */
#define HTTP_AHEAD_MAX (64 * 1024)

/* Answer held for a slow client before the upstream has to wait. */
#define HTTP_DOWN_MAX (256 * 1024)

/* With less room than that left, nothing more is read. */
#define HTTP_DOWN_STEP (64 * 1024)

/* Payload that is read in one run: no read takes more, and none follows once so much was read. */
#define HTTP_PIECE (256 * 1024)

/* How much of a target the access log shows. */
#define HTTP_LOG_TARGET_MAX 1024

/* How long a client that nothing depends on is not watched, as a rule. */
#define HTTP_WATCH_AFTER (1 * USEC_PER_SEC)

/* How long a client that has sent nothing yet may begin its request when kaproxy stops. */
#define HTTP_DRAIN_GRACE (1 * USEC_PER_SEC)

/* How long we read on after our last byte, so that a reset does not destroy it, and how much. */
#define HTTP_LINGER     (5 * USEC_PER_SEC)
#define HTTP_LINGER_MAX (256U * 1024 * 1024)

/* An answer of more bytes than that may not have gone out when its last byte was written, though
 * the socket was never full. */
#define HTTP_MUCH (16 * 1024)

/* How often a client that sends nothing is looked after meanwhile: does it have all? */
#define HTTP_LINGER_LOOK (USEC_PER_SEC / 5)

enum step {
    STEP_AGAIN,   /* the state has changed; go on at once */
    STEP_BLOCKED, /* until a stream becomes ready */
    STEP_YIELD,   /* there is more to do, when others had their turn */
    STEP_GONE     /* the session has ended */
};

/* How far a message has been read. */
enum message_stage { MESSAGE_HEAD, MESSAGE_BODY, MESSAGE_TRAILER, MESSAGE_READ };

/* What the upstream has of the request. http_set_up_stage makes the moves, and its table has those
 * that there are. */
enum up_stage {
    UP_NONE,    /* nothing: its head is not composed yet */
    UP_QUEUED,  /* nothing, on the present connection */
    UP_STARTED, /* some of it, or all: http_request_is_sent */
    UP_FAILED,  /* it takes no more, and may have answered before */
    UP_RESET,   /* the same, and its end is none in order */
    UP_STAGES
};

/* What has come of the response; the same with http_set_down_stage. */
enum down_stage {
    DOWN_NONE,
    DOWN_STARTED,   /* something */
    DOWN_INTERIM,   /* a whole 1xx, in order */
    DOWN_COMMITTED, /* bytes of the final one, or of a local reply, are with the client */
    DOWN_CUT,       /* it breaks off */
    DOWN_STAGES
};

/* One request with its response. */
struct exchange {
    struct exchange *next_spare; /* while it is one */
    enum message_stage request_stage, response_stage;
    /* Each direction has its own, for both are read at the same time. */
    struct http1_head request, response, request_trailer, response_trailer;
    struct conn_info conn; /* for the access log; number 0: none is noted yet */
    struct http1_body request_body, response_body;
    struct buffer head;  /* the request's head, while its body is read ahead */
    struct buffer ahead; /* its payload read ahead */
    /* For the upstream, one after the other: the head and what follows it, `ahead`, what came after
     * that and the end of a chunked body. All of the request so far while it may be sent again. */
    struct buffer up, tail;
    size_t up_sent;                  /* of all three */
    struct buffer last_chunk;        /* the end of a chunked request that has a trailer */
    struct relay bulk_up, bulk_down; /* bodies; what they hold stands before `up` and `down` */
    struct buffer answer;            /* the upstream's bytes that are not parsed yet */
    enum http1_framing up_framing, down_framing; /* how the bodies go on */
    uint16_t status;                             /* the client is told; 0: none yet */
    bool replayable; /* all that was sent of the request is held, from its first byte on */
    uint8_t tries;   /* how often it was sent again */
    enum up_stage up_stage;
    enum down_stage down_stage;
    /* Why the connection cannot go back to the pool, as far as the response has shown it so far;
     * POOL_DISCARD_COUNT: nothing has. */
    enum pool_discard unfit;
    usec_t sent_at;       /* when some of it was sent last on the present connection; 0: none was */
    usec_t first_byte_at; /* when the response began; 0: it has not */
    char method[24];
    char *target;  /* for the access log; NULL: unknown */
    char *upgrade; /* Upgrade as it is sent; NULL: none is */
};

/* What the http sessions of a listener share. */
struct http_listener {
    const char *host; /* the Host that the upstream gets */
    bool client_host; /* the client's instead, if it sent one */
    char authority[ENDPOINT_TEXT_MAX];
    struct exchange *spare_exchanges; /* to be used again */
    unsigned spare_exchange_count;
    uint64_t retries;    /* requests that were sent again */
    uint64_t answers[6]; /* by the status' first digit; 0: beyond 599 */
};

struct http_session {
    struct session session;
    struct buffer in;          /* the client's bytes that are not parsed yet */
    struct buffer down;        /* for the client */
    struct exchange *exchange; /* NULL between requests */
    struct duplex *tunnel;     /* after 101, or 2xx to CONNECT */
    union {
        usec_t watch_at;       /* limit_at while it ends no more than the time without a watch */
        usec_t linger_until;   /* LINGERING */
        usec_t affinity_until; /* READING with a connection: when that ends; 0: at no such time */
    };
    usec_t read_at;           /* when something of the client's was read last */
    enum departure departure; /* what its end means; NONE: not noticed, or not asked */
    uint32_t taken;           /* bytes read in this run */
    uint32_t linger_left;     /* LINGERING: how many bytes may still be thrown away */
    enum session_end end;     /* how the exchange ended; other than COMPLETE only the last one */
    bool served;              /* had an exchange before */
    bool told_much;           /* had an answer of more than HTTP_MUCH bytes */
    bool affinity;            /* NTLM, Negotiate: the connection is this client's until it ends */
    bool client_ended;        /* the client's EOF was seen; it may still read */
    bool sees_end;            /* since right after read_at an end of it would have been noticed */
    bool answered;            /* what was written to it may be acknowledged later than read_at */
    bool last;                /* the client's connection ends with this exchange */
};

static inline struct http_session *http_of(struct session *session)
{
    return container_of(session, struct http_session, session);
}

static inline struct http_listener *http_listener_of(const struct http_session *http)
{
    return http->session.context->of_protocol;
}

static inline bool http_is_leased(const struct http_session *http)
{
    return http->session.allocation.state == ALLOCATION_LEASED;
}

/* May a client hold the connection for as long as it likes after this request? */
static inline bool http_may_hold(const struct http1_head *request)
{
    return request->upgrade || request->method == HTTP1_CONNECT || request->connection_auth;
}

/* How much one read takes at most. */
static inline size_t http_read_max(const struct http_session *http)
{
    size_t size = http->session.context->worker.scratch.size;
    return size < HTTP_PIECE ? size : HTTP_PIECE;
}

static inline bool http_up_failed(const struct exchange *exchange)
{
    return exchange->up_stage >= UP_FAILED;
}

static inline bool http_response_started(const struct exchange *exchange)
{
    return exchange->down_stage >= DOWN_STARTED;
}

static inline bool http_response_committed(const struct exchange *exchange)
{
    return exchange->down_stage >= DOWN_COMMITTED;
}

/* Counts what the client was answered, by its status. */
static inline void http_count_answer(struct http_session *http)
{
    unsigned status = http->exchange->status;
    if (status != 0)
        http_listener_of(http)->answers[status < 600 ? status / 100 : 0]++;
}

/* http_exchange.c */

/* A listener's part of this protocol. */
MUST_CHECK int http_listener_init(struct listener_context *context);
void http_listener_free(struct listener_context *context);

void http_moved(struct http_session *http);
/* So many bytes were read, from either side. */
void http_took(struct http_session *http, uint64_t length);
/* So many bytes for the client were written. */
void http_told(struct http_session *http, uint64_t length);
/* Bytes that were read into scratch memory are lent to `in` and `answer`: to be called before that
 * memory is used again, and before others have their turn. 0, or -1 with ENOMEM. */
MUST_CHECK int http_keep(struct http_session *http);
/* Makes a move that its table has. */
void http_set_up_stage(struct exchange *exchange, enum up_stage to);
void http_set_down_stage(struct exchange *exchange, enum down_stage to);
/* Notes why the connection cannot go back; the first reason counts. */
void http_set_unfit(struct exchange *exchange, enum pool_discard reason);
struct exchange *http_exchange_new(struct http_session *http); /* NULL: no memory */
void http_exchange_free(struct http_session *http);            /* if there is one */
/* Ends the session at once, as session_finish does. */
enum step http_finish(struct http_session *http, enum session_end end);
/* Does anything stand for the client? */
bool http_has_down(const struct http_session *http);
/* Writes what stands for the client. STEP_AGAIN: all of it is written. */
enum step http_flush(struct http_session *http);

/* http_time.c */

/* READING: sets the time limit, 0 for none; that of the connection rules where it is nearer. */
void http_limit_reading(struct http_session *http, usec_t limit);
/* The same for a header that is to be complete header_timeout after `from`. */
void http_limit_header(struct http_session *http, usec_t from);
/* How long nothing may move, as things stand; 0: any time. */
usec_t http_quiet_max(const struct http_session *http);
/* Nothing moved for so long, or a limit is over: answers, or ends the client. */
enum step http_time_is_over(struct http_session *http);

/* http_request.c */

/* READING: until the request is ready to be sent, then asks for a connection. */
enum step http_read_request(struct http_session *http);
/* RELAYING: sends what stands, reads more of the body. */
enum step http_send_request(struct http_session *http);
/* All that was composed for the upstream is with its kernel; all of the request is. */
bool http_up_is_sent(const struct exchange *exchange);
bool http_request_is_sent(const struct exchange *exchange);

/* http_response.c */

/* RELAYING: reads the answer and passes it on. */
enum step http_relay_response(struct http_session *http);

/* http_answer.c */

/* Answers in the upstream's place and ends the exchange. What is leased is discarded for `reason`.
 * An answer of which the client was told something already is cut. */
enum step http_answer(struct http_session *http, unsigned status, const char *text,
                      enum session_end end, enum pool_discard reason);
/* No connection could be had. */
enum step http_answer_failure(struct http_session *http, const struct failure *failure);
/* The client may not hold one more. A connection that was had already goes back as it came. */
enum step http_answer_no_tunnel(struct http_session *http);
/* The upstream's connection ended before anything of the answer came, or it brought what cannot be
 * one: once more, or 502. */
enum step http_retry(struct http_session *http, enum pool_discard reason);
/* The connection is dead: once more, or 504. */
enum step http_unacked(struct http_session *http);
/* Could the request, as far as it was sent, be sent once more? */
bool http_may_retry(const struct http_session *http);
/* `what` is all that the upstream has answered, and may be about something before this request:
 * sends it once more, if it may be. */
bool http_replay(struct http_session *http, const char *what);
/* From here on bytes in both directions: the exchange switched protocols. */
enum step http_open_tunnel(struct http_session *http);

/* http_leave.c. These end the session if the client broke its connection, or has left and
 * abort_on_close says so; else STEP_AGAIN. */

/* While a request is under way, after events. */
enum step http_check_client(struct http_session *http);
/* The client was not watched so far, and is to be from now on. */
enum step http_check_unwatched(struct http_session *http);
/* A connection was granted, and nothing is sent yet. Costs nothing where the request is so young
 * that no end could count. */
enum step http_check_granted(struct http_session *http);
/* Something of the client's was read. With it may have come its end, and both long ago, while an
 * earlier answer went out: that is acknowledged later, and no end that comes with a request is
 * late. */
void http_note_read(struct http_session *http);
/* The client is watched from now on, without that. */
void http_note_watch(struct http_session *http);
/* How long a client that nothing depends on is not watched now. */
usec_t http_watch_after(const struct http_session *http);

/* http_end.c */

/* What stands for the client is its last answer; it goes out, and the client ends. */
enum step http_end_exchange(struct http_session *http, enum session_end end);
/* The answer breaks off; nothing is leased any more. What came of it is delivered before the client
 * ends, since its framing shows that it is not whole. An answer without one is cut by a reset. */
enum step http_cut(struct http_session *http, enum session_end end);
/* Ends a client in order that has, as far as we are concerned, all there is for it: closes at once,
 * or lingers where a reset could follow. What is leased is discarded. */
enum step http_end_client(struct http_session *http);
/* DRAINING: the rest of the answer, then the next request, or the end. */
enum step http_drain_step(struct http_session *http);
/* LINGERING: throws away what the client still sends. */
enum step http_linger_step(struct http_session *http);
enum step http_linger_timed_out(struct http_session *http);

/* http_body.c */

/* Squeezes the payload of a body's bytes together, to the front of *data. The result is
 * http1_body_feed's; *data and *length become the payload, *consumed what was used up. */
enum http1_result http_squeeze(struct http1_body *body, char **data, size_t *length,
                               size_t *consumed);

/* A span of payload, and how it goes on: as it is, or as a chunk. */
struct http_payload {
    bool chunked;
    bool last; /* the body ends with it; the caller sees to it where there is a trailer */
    const char *data;
    size_t length;
};

/* Writes the backlog and then the payload, in one call, as far as the stream takes them; the rest
 * is the new backlog. How many bytes were written, or -1 with errno, ENOMEM included. Without a
 * stream all is only put in the backlog. */
MUST_CHECK ssize_t http_pass(struct stream *to, struct buffer *backlog,
                             const struct http_payload *payload);

/* http_bulk.c */

/* The middle of a large body of known length goes through a relay, without a look at it. Its end is
 * taken as that of any other body. */
struct http_bulk {
    struct relay *relay;
    struct http1_body *body;
    struct stream *from, *to;
};

/* Is what comes next such a middle? It may be moved when nothing stands in front of it. */
bool http_is_bulk(const struct http_bulk *bulk);
enum relay_result http_move_bulk(struct http_session *http, const struct http_bulk *bulk);
/* What is to be done after moving, where nothing ended or failed. */
enum step http_after_bulk(const struct relay *relay, enum relay_result result);

#endif
