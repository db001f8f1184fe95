/* SPDX-License-Identifier: ISC */
/* What protocols consist of, and what they build on: a session as they see it. For protocols and
 * the files of this folder.
 *
 *   session.c           every session: its states, its allocation, its timer, its end
 *   session_log.c       what is logged about it
 *   session_view.c      what an operator sees of it
 *   session_wait.c      it waits for the end of its listener's pause
 *   listener_context.c  what the sessions of one listener share
 *   duplex.c            bytes in both directions, whatever they mean
 *   quiet.h             when opaque bytes are at rest (reuse = quiet)
 *   exchange*.c         the engine of framed protocols
 *   batch*.c            batches of commands, on the engine
 *   opaque/             tcp and tls: uninterpreted bytes
 *   http/               http and https
 *   redis/              redis and rediss
 *   memcached/          memcached and memcacheds */
#ifndef KAPROXY_PROTOCOL_H
#define KAPROXY_PROTOCOL_H

#include <sys/socket.h>

#include "base/log_line.h"
#include "session/quiet.h"
#include "session/session.h"

/*  READING    framed: waits for a request or command, or reads it; no allocation, and no connection
 *             but one that is the client's (affinity)
 *  WAITING    an allocation is under way
 *  RELAYING   leases a connection
 *  DRAINING   opaque: one direction has ended, or the upstream broke the connection and the client
 *             takes what had come; framed: the response, or the replies, are being written, and the
 *             connection is back
 *  LINGERING  framed: nothing is to be written any more; what the client still sends is thrown
 *             away, so that no reset destroys what it was sent
 *  CLOSED     ended, about to be freed
 */
enum session_state {
    SESSION_READING,
    SESSION_WAITING,
    SESSION_RELAYING,
    SESSION_DRAINING,
    SESSION_LINGERING,
    SESSION_CLOSED,
    SESSION_STATES
};

#define SESSION_FIELDS_MAX 6400

/* What the bytes of a session mean is up to the protocol of its scheme. None of these is called
 * once the session is CLOSED. NULL where noted. */
struct protocol {
    size_t session_size; /* of the struct that begins with a struct session */
    /* While it waits, the client need not be watched immediately: most waits are over before
     * watching has paid for its system call. */
    bool watches_late;
    enum session_state first_state;
    /* The protocol's part of a listener's context (context->of_protocol). 0, or -1 with ENOMEM.
     * Both NULL: none. */
    int (*listener_init)(struct listener_context *context);
    void (*listener_free)(struct listener_context *context);
    /* The client was accepted; must not end the session (session_wake calls run instead). */
    void (*start)(struct session *session);
    /* The pool has granted a lease, or failure says why not. */
    void (*on_connection)(struct session *session, const struct failure *failure);
    /* A stream became ready, or more work is due: does one bounded piece of work. Ends with
     * session_pause unless it ends the session. */
    void (*run)(struct session *session);
    /* Nothing moved for quiet_max, or limit_at has passed. NULL: the session ends. */
    void (*on_timeout)(struct session *session);
    /* The connection is dead: nothing of what was sent was acknowledged for unacked_timeout. */
    void (*on_unacked)(struct session *session);
    /* Sessions are to end: those without work under way do so. NULL: it continues. */
    void (*drain)(struct session *session);
    /* Where to record what the access log says about the connection; NULL: nowhere. */
    struct conn_info *(*conn_info)(struct session *session);
    /* RELAYING: does it wait for its client, to send or to receive more, rather than for the
     * upstream? NULL: unknown. */
    bool (*waits_for_client)(const struct session *session);
    /* Adds fields to a line of the access log, at most SESSION_FIELDS_MAX bytes in either format.
     * NULL: none. */
    void (*log_fields)(struct session *session, struct log_line *line);
    /* Its counters for a listener: a block of that size, context->counters->of_protocol. NULL and
     * 0: none. */
    const struct metric_set *metrics;
    size_t counters_size;
    /* Frees the protocol's part of a session. */
    void (*destroy)(struct session *session);
};

/* What the access log says about a session, or about one exchange of it. */
struct access {
    bool open;                  /* there is something to log */
    bool was_granted;           /* from_cache is valid */
    enum from_cache from_cache; /* of the last grant */
    usec_t started;
    usec_t requested_at; /* the time of a request to the pool, until it is granted; else 0 */
    usec_t waited;       /* for the pool's grants */
    uint64_t bytes_up, bytes_down;
    const struct failure *failure; /* of the allocation, set by session_set_failure; NULL: none */
    bool failure_logged;           /* as a message */
};

struct session {
    const struct protocol *protocol;
    struct listener_context *context;
    enum session_state state;
    bool failing;   /* on_connection will be called with access.failure in the next iteration */
    bool bulk;      /* its last run moved much: events only queue it */
    bool is_paused; /* WAITING: in its listener's `paused`, and not in the pool's queue */
    struct stream client;
    struct stream_handler client_handler;
    struct stream_handler upstream_handler;
    struct allocation allocation;
    struct timer timer; /* quiet_max, and shorter limits of the protocol */
    struct task task;
    usec_t accepted_at;
    usec_t moved_at;   /* when a byte last moved */
    usec_t quiet_max;  /* for how long nothing may move now: idle_timeout, unless the protocol has
                          another limit for what it waits for; 0: unlimited */
    usec_t limit_at;   /* the protocol's own time limit, or 0 */
    usec_t unacked_at; /* when what was sent must be acknowledged, or 0: nothing was */
    struct access access;
    union {
        union address peer;
        struct {
            sa_family_t family; /* peer's: AF_UNIX */
            bool known;         /* the process is recorded here; only needed for a log line */
            struct ucred process;
        } unix_peer;
    };
    TAILQ_ENTRY(session) link;
    TAILQ_ENTRY(session) pause_link; /* is_paused */
};

const char *session_state_name(enum session_state state);

/* Makes the only changes of state, checked against the table. */
void session_set_state(struct session *session, enum session_state to);

/* The client is answered by us instead of the upstream. */
static inline void session_count_local_reply(struct session *session)
{
    counter_add(&session->context->counters->stats.local_replies, 1);
}

/* Requests a connection from the pool; on_connection is called later, always. The state becomes
 * WAITING if it was not. */
void session_request_connection(struct session *session, bool fresh);

/* Does it wait for a connection, with no grant under way? */
static inline bool session_is_waiting(const struct session *session)
{
    return pool_is_waiting(&session->allocation) || session->is_paused;
}

/* Records, for the access log, which connection is leased now. */
void session_note_conn(struct session *session);

/* Watches the client, unless it is watched. 0, or -1: it cannot be watched, and the session must
 * end. */
MUST_CHECK int session_watch_client(struct session *session);

/* Starts the timer that checks quiet_max, limit_at and unacked_timeout; call it when any of them
 * may have come closer. 0, or -1 with ENOMEM. */
MUST_CHECK int session_start_timer(struct session *session);

/* Something was sent to the upstream at moved_at, which was set just before. */
static inline void session_sent(struct session *session)
{
    const struct listener_context *context = session->context;
    if (session->unacked_at == 0 && context->unacked_timeout > 0)
        session->unacked_at = session->moved_at + context->unacked_timeout;
}

/* Calls `run` again in this iteration. */
void session_wake(struct session *session);

/* A run is over, in which this many bytes were read. With `more` it is queued for another piece,
 * after others had their turn. */
void session_pause(struct session *session, uint64_t moved, bool more);

/* The client's address as text, or for a unix client its process, as unix:uid:UID,pid:PID; returns
 * text. */
char *session_peer(const struct session *session, char text[SESSION_PEER_MAX]);

/* A message about a session is not logged if one of its kind was logged recently (repeats.h): first
 * ask whether to log, then report. The line begins with the key's place, followed by listener,
 * client, upstream, and the given text. */
MUST_CHECK bool session_admit(const struct session *session, enum log_level level,
                              const struct repeat_key *key);
void session_report(const struct session *session, enum log_level level,
                    const struct repeat_key *key, const char *format, ...) PRINTF(4, 5);

/* The text for a connection on which nothing was acknowledged; returns text. */
#define SESSION_UNACKED_MAX 128
const char *session_unacked_text(const struct session *session, char text[SESSION_UNACKED_MAX]);

/* Why no connection was available; copied, and kept until the exchange, or the session, was
 * logged. */
void session_set_failure(struct session *session, const struct failure *failure);
void session_clear_failure(struct session *session);
/* Logs it now rather than with the access-log line: for sessions that continue. */
void session_log_failure(struct session *session);

/* A unix client's process can be queried as long as the client is connected; a line may be written
 * later, and there may be many. */
void session_learn_process(struct session *session);

/* The pool has granted or refused, or its answer is not wanted any more. Returns the time. */
usec_t session_end_wait(struct session *session);

/* From here on there is something to log. */
void session_open_access(struct session *session);

/* Writes the line for an open access record, and closes it. */
void session_log(struct session *session, enum session_end end);

/* Ends a session in any state and frees it. A lease is discarded; to have it released, release it
 * before. A client whose session did not end well is reset, as far as its kind of socket can be (a
 * unix socket cannot, unless bytes of the client are unread). */
void session_finish(struct session *session, enum session_end end);

/* Bytes in both directions. */
struct duplex {
    struct quiet quiet;
    struct relay up, down;
};

/* Moves a piece in each direction, and ends the session when both have ended. With may_reuse the
 * connection is released if the client ends when it is at rest. */
void duplex_work(struct session *session, struct duplex *duplex, bool may_reuse);
/* The session's timer: ends it, or checks whether it can be ended now. */
void duplex_timed_out(struct session *session, struct duplex *duplex);
/* Ends the session, whose connection is dead, once the client has received what came. */
void duplex_unacked(struct session *session, struct duplex *duplex);
void duplex_clear(struct duplex *duplex);

#endif
