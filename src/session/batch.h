/* SPDX-License-Identifier: ISC */
/* Batches of commands: what Redis and memcached have in common. Numbers such as F1 are rules of
 * FRAMED; kaproxy.ini(5) explains them for users.
 *
 * A batch is an exchange of the engine: the complete commands that a client has sent so far, the
 * lease on which they are sent, and all of their replies (F1). Commands that arrive meanwhile join
 * it, within bounds. It ends when the last byte of the last reply was read.
 *
 *   batch.c        a batch from its first command to its end, on the engine's steps
 *   batch_relay.c  while it leases a connection: both directions
 *   batch_fail.c   when it cannot continue: our own errors, time limits
 *
 * The protocol knows what commands and replies are (struct batch_protocol); it keeps what it
 * expects in `expected`, in its own encoding. */
#ifndef KAPROXY_BATCH_H
#define KAPROXY_BATCH_H

#include "session/exchange.h"

/* The most that joins a batch, and for how long while others wait for a connection (F1). */
#define BATCH_COMMANDS_MAX 4096
#define BATCH_BYTES_MAX    (1024 * 1024)
#define BATCH_EXPECTED_MAX (128 * 1024) /* of `expected`, which includes our own replies */
#define BATCH_TIME_MAX     (10 * USEC_PER_MSEC)

/* A longer command is passed on before it is complete. */
#define BATCH_WHOLE_MAX EXCHANGE_AHEAD_MAX

enum batch_stage {
    BATCH_GATHERING, /* nothing was sent on the current connection */
    BATCH_PREPARING, /* our own commands were; the client's are held until their replies are good
                        (F3) */
    BATCH_OPEN       /* the client's are sent as they arrive */
};

struct batch {
    struct exchange base;    /* ahead: the client's commands; up: ours, which precede them */
    struct batch *next_free; /* while it is in use */
    struct buffer held;      /* PREPARING: what `ahead` will consist of next */
    struct buffer expected;  /* the replies to come */
    size_t bytes;            /* commands so far */
    uint32_t commands;
    usec_t opened_at; /* when it got its connection */
    enum batch_stage stage;
    bool fresh;       /* only a connection that was never used will do */
    bool full;        /* nothing more joins */
    bool partial;     /* the command at the front of client->in is incomplete */
    bool streaming;   /* more of its last command is to come, and is passed through */
    bool sinking;     /* and is to be dropped */
    bool unsafe;      /* has a command that must not be sent twice (F4) */
    bool needs_hold;  /* its lease may wait for the client, or for other clients (F9) */
    bool holds;       /* it is held for that from the start */
    bool tunnel;      /* its command starts affinity until the client's end */
    bool reply_begun; /* the client has, or is to get, a part of the next reply */
};

/* What happened to the command at the front of client->in. */
enum batch_take {
    BATCH_TOOK,  /* it was taken, or dropped */
    BATCH_MORE,  /* it is incomplete */
    BATCH_APART, /* it belongs to the next batch */
    BATCH_LAST,  /* nothing more is taken from this client; its last reply is expected */
    BATCH_NO_MEMORY
};

/* What a connection needs before the batch. */
enum batch_prepare {
    BATCH_READY,    /* nothing, or nothing that has to be awaited: base.up is sent with the batch */
    BATCH_AWAIT,    /* base.up, and its replies first */
    BATCH_NEW_CONN, /* it cannot be prepared: another one, never used, is needed */
    BATCH_CANNOT    /* out of memory */
};

struct batch_protocol {
    size_t batch_size; /* of the struct that begins with a struct batch */
    /* An empty batch, all zero, begins. */
    void (*begin)(struct client *client);
    /* Frees the protocol's part of one. NULL: nothing to free. */
    void (*clear)(struct batch *batch);
    /* Takes the command at the front of client->in, which is not empty. */
    enum batch_take (*take)(struct client *client);
    /* For a command of which more is to come: how much payload of known length, whose bytes need
     * not be read, is next; and that this many of its bytes were moved. */
    uint64_t (*payload_left)(const struct batch *batch);
    void (*payload_moved)(struct batch *batch, uint64_t length);
    /* More bytes of such a command: how many belong to it, and whether that completes it (*whole).
     * -1: it is malformed, and what waits for a reply is answered accordingly, unless a reply was
     * begun. */
    ssize_t (*go_on)(struct client *client, const char *data, size_t length, bool *whole);
    /* A connection was granted, and nothing is sent yet. */
    enum batch_prepare (*prepare)(struct client *client);
    /* What was gathered is about to be sent, or all of it was, and was answered: adds what has to
     * follow it (batch_add_ours). NULL: nothing. 0, or -1 with ENOMEM. */
    int (*seal)(struct client *client);
    /* Takes replies in base.response_in, as far as they are complete or can be passed on in part.
     * STEP_BLOCKED: more must arrive, or nothing is expected any more. */
    enum step (*take_replies)(struct client *client);
    /* As above, for the reply that is being read. */
    uint64_t (*reply_left)(const struct batch *batch);
    void (*reply_moved)(struct batch *batch, uint64_t length);
    /* Answers every command that expects a reply and has none with this text ("connect: Connection
     * refused") (F5). The lease will be lost. *closes: nothing may follow. 0, or -1 with ENOMEM. */
    int (*answer_rest)(struct client *client, const char *text, bool *closes);
    /* All is answered, and the engine sees nothing wrong with the connection. Whether it may be
     * released (POOL_DISCARD_COUNT), or why not; *keeps: it stays with the client instead
     * (affinity). */
    enum pool_discard (*verdict)(struct client *client, bool *keeps);
    /* The upstream sent something unexpected. True: it is for the client, and so is the connection
     * from now on. */
    bool (*is_for_client)(const struct client *client);
};

/* Counters of a client (F8). */
struct batch_stats {
    uint64_t commands; /* that were sent, or were answered with an error of our own */
    uint64_t leases;
    uint64_t from_cache[FROM_DEFERRED + 1]; /* of these */
    uint64_t prepared;                      /* with our own commands (F3) */
    uint64_t retried;                       /* retried batches (F4) */
};

/* A client whose commands form batches. A protocol's own struct begins with it. */
struct batch_client {
    struct client client;
    const struct batch_protocol *protocol;
    struct batch_stats stats;
    struct conn_info conn; /* the last one; for the access log */
    bool failed;           /* it was logged that no connection was available */
};

/* The same for a listener: a metric block. */
struct batch_counters {
    struct counter commands, leases, from_cache[FROM_DEFERRED + 1], prepared, retried;
};
extern const struct metric_set batch_metrics;

/* A protocol's part of a listener's context begins with it. */
struct batch_listener {
    struct batch *free_batches; /* for reuse */
    unsigned free_batch_count;
};

static inline struct batch_client *batch_client_of(struct client *client)
{
    return container_of(client, struct batch_client, client);
}

static inline const struct batch_protocol *batch_protocol_of(const struct client *client)
{
    return container_of_const(client, struct batch_client, client)->protocol;
}

static inline struct batch *batch_of(const struct client *client)
{
    return client->exchange == NULL ? NULL : container_of(client->exchange, struct batch, base);
}

/* batch.c */

extern const struct exchange_protocol batch_exchange_protocol;

/* The client was accepted. */
void batch_start(struct batch_client *client, const struct batch_protocol *protocol);
/* Members of struct protocol. */
void batch_on_connection(struct session *session, const struct failure *failure);
void batch_on_drain(struct session *session);
struct conn_info *batch_conn_info(struct session *session);
void batch_log_fields(struct session *session, struct log_line *line);

/* Allocates a protocol's part of a listener, of that size, all zero. */
MUST_CHECK int batch_listener_init(struct listener_context *context, size_t size);
void batch_listener_free(struct listener_context *context);
/* The session ends: frees its batch, and the client's part. */
void batch_clear_client(struct client *client);

/* Frees what precedes the client's commands. */
static inline void batch_clear_ours(struct batch *batch)
{
    if (batch->base.secret)
        buffer_wipe(&batch->base.up);
    buffer_clear(&batch->base.up);
}

/* May one more command join? */
bool batch_may_grow(const struct client *client);
/* A command is to be sent: its bytes, from client->in, whose front is consumed. `safe`: it may be
 * sent twice. 0, or -1 with ENOMEM. */
MUST_CHECK int batch_add(struct client *client, size_t length, bool safe);
/* The same, with other bytes; `in` is unchanged. */
MUST_CHECK int batch_add_bytes(struct client *client, const void *data, size_t length, bool safe);
/* Our own bytes, after the commands so far. */
MUST_CHECK int batch_add_ours(struct client *client, const void *data, size_t length);
/* The batch's lease may wait for its client, or for others. False: as many as may already do
 * (F9). */
bool batch_needs_hold(struct client *client);
/* None of the commands was sent: they go to another connection, one that was never used. */
enum step batch_start_over(struct client *client, enum pool_discard reason);

/* batch_relay.c */

enum step batch_relay(struct client *client);
/* Reads once from the client, appending to `in`. */
enum step batch_fill(struct client *client);
/* Takes commands from `in`. STEP_AGAIN: there may be more; STEP_BLOCKED: none before something is
 * read, or the batch is over. */
enum step batch_gather(struct client *client);
/* Continues with a command of which more is to come. */
enum step batch_stream(struct client *client);
/* The bytes at the front of base.response_in that are for the client, passed on together. */
struct batch_run {
    const char *data;
    size_t length;
};

static inline struct batch_run batch_run_begin(const struct client *client)
{
    return (struct batch_run){.data = buffer_data(&client->exchange->response_in)};
}

/* Passes them on; an empty run begins after them. */
enum step batch_pass_run(struct client *client, struct batch_run *run);
/* A reply of our own: it is sent along with what comes next, and counts as work, which is limited
 * per run. 0, or -1 with ENOMEM. */
MUST_CHECK int batch_put_down(struct client *client, const char *data, size_t length);
/* The client's commands may be sent: there were none of ours, or their replies are good. */
enum step batch_open(struct client *client);
/* A reply to one of the client's commands has begun: from now on nothing is retried. */
void batch_reply_started(struct client *client);

/* batch_fail.c */

/* The batch cannot continue: the lease is discarded, and each command that waits for its reply is
 * answered with an error, made from the failure's function and text, which is logged. A reply that
 * was passed on in part is truncated. */
enum step batch_fail(struct client *client, const struct failure *failure, enum session_end end,
                     enum pool_discard reason);
/* Commands are answered with an error of this text: logs it, and records it for the access log. */
void batch_note_failure(struct client *client, const struct failure *failure);
/* The upstream sent something that is not a reply. */
enum step batch_fail_malformed(struct client *client);
/* Everything is answered with errors, and nothing leased: continues with the client, or ends it. */
enum step batch_answered(struct client *client, bool closes, enum session_end end);
/* No connection was available, which was recorded (session_set_failure). */
enum step batch_fail_connection(struct client *client, const struct failure *failure);
/* The client may not hold one more. A connection that it already got is released unused. */
enum step batch_fail_no_tunnel(struct client *client);
/* Members of struct exchange_protocol. */
enum step batch_upstream_failed(struct client *client, enum pool_discard reason);
enum step batch_unacked(struct client *client);
enum step batch_time_is_over(struct client *client);
/* The client of a waiting blocking command has left (R8). */
enum step batch_left_waiting(struct client *client);

/* Records and logs that as a failure. */
void batch_no_tunnel(struct client *client, struct failure *failure);

#endif
