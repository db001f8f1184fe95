/* SPDX-License-Identifier: ISC */
/* Batches of commands: what Redis and memcached have in common. Numbers such as F1 are rules of
 * FRAMED; kaproxy.ini(5) has them for users.
 *
 * A batch is an exchange of the engine's: the whole commands that a client has sent so far, the
 * lease that they are sent on, and all of their replies (F1). Commands that come meanwhile join it,
 * within bounds. It ends when the last byte of the last reply was read.
 *
 *   batch.c        a batch from its first command to its end, on the engine's steps
 *   batch_relay.c  while it leases a connection: both directions
 *   batch_fail.c   when it cannot go on: errors of ours, time limits
 *
 * The protocol knows what a command and a reply is (struct batch_protocol); what it expects it
 * keeps in `expected`, in an encoding of its own. */
#ifndef KAPROXY_BATCH_H
#define KAPROXY_BATCH_H

#include "session/exchange.h"

/* What joins a batch at most, and for how long while others wait for a connection (F1). */
#define BATCH_COMMANDS_MAX 4096
#define BATCH_BYTES_MAX    (1024 * 1024)
#define BATCH_EXPECTED_MAX (128 * 1024) /* of `expected`: replies of ours are in there */
#define BATCH_TIME_MAX     (10 * USEC_PER_MSEC)

/* A command that is longer goes on before it is whole. */
#define BATCH_WHOLE_MAX EXCHANGE_AHEAD_MAX

enum batch_stage {
    BATCH_GATHERING, /* nothing was sent on the present connection */
    BATCH_PREPARING, /* commands of ours were; the client's are held until their replies are good
                        (F3) */
    BATCH_OPEN       /* the client's are sent, as they come */
};

struct batch {
    struct exchange base;    /* ahead: the client's commands; up: ours, which come before them */
    struct batch *next_free; /* while it is one */
    struct buffer held;      /* PREPARING: what goes to `ahead` then */
    struct buffer expected;  /* what is to come of replies */
    size_t bytes;            /* of commands, so far */
    uint32_t commands;
    usec_t opened_at; /* when it got its connection */
    enum batch_stage stage;
    bool fresh;       /* only a connection that nobody has used will do */
    bool full;        /* nothing more joins */
    bool partial;     /* the command at the front of client->in is not whole */
    bool streaming;   /* of its last command more is to come, and passes through */
    bool sinking;     /* and nobody wants it any more */
    bool unsafe;      /* has a command that must not be sent twice (F4) */
    bool needs_hold;  /* its lease may wait for the client, or for others (F9) */
    bool holds;       /* it is held for that from the start */
    bool tunnel;      /* its command opens affinity to the client's end */
    bool reply_begun; /* the client has, or is to have, a part of the reply that is next */
};

/* What became of the command at the front of client->in. */
enum batch_take {
    BATCH_TOOK,  /* it was taken, or dropped */
    BATCH_MORE,  /* it is not whole */
    BATCH_APART, /* it is for the next batch */
    BATCH_LAST,  /* nothing more is taken from this client, whose last reply is expected */
    BATCH_NO_MEMORY
};

/* What a connection needs before the batch. */
enum batch_prepare {
    BATCH_READY,    /* nothing, or nothing that has to be awaited: base.up goes with the batch */
    BATCH_AWAIT,    /* base.up, and its replies first */
    BATCH_NEW_CONN, /* it cannot be made good: another one, that nobody has used */
    BATCH_CANNOT    /* no memory */
};

struct batch_protocol {
    size_t batch_size; /* of the struct that begins with a struct batch */
    /* An empty batch, all zero, begins. */
    void (*begin)(struct client *client);
    /* Frees what the protocol holds of one. NULL: nothing. */
    void (*clear)(struct batch *batch);
    /* Takes the command at the front of client->in, which has some bytes. */
    enum batch_take (*take)(struct client *client);
    /* The command whose rest is to come: how much of it is, next, payload of known length, whose
     * bytes need not be seen; and that so many of these were moved. */
    uint64_t (*payload_left)(const struct batch *batch);
    void (*payload_moved)(struct batch *batch, uint64_t length);
    /* It goes on with these bytes: how many of them are its, and whether it is whole with them
     * (*whole). -1: it is malformed, and what waits for a reply is answered with that, where no
     * reply was begun. */
    ssize_t (*go_on)(struct client *client, const char *data, size_t length, bool *whole);
    /* A connection was granted, and nothing is sent yet. */
    enum batch_prepare (*prepare)(struct client *client);
    /* What was gathered is about to be sent, or all of it was, and answered: adds what has to come
     * behind it (batch_add_ours). NULL: nothing has. 0, or -1 with ENOMEM. */
    int (*seal)(struct client *client);
    /* Takes replies in base.response_in, as far as there are whole ones or parts that can be passed
     * on. STEP_BLOCKED: more must come, or nothing is expected any more. */
    enum step (*take_replies)(struct client *client);
    /* The same for the reply that is being read. */
    uint64_t (*reply_left)(const struct batch *batch);
    void (*reply_moved)(struct batch *batch, uint64_t length);
    /* Every command that is not answered is, with this text ("connect: Connection refused"), as far
     * as it expects a reply (F5). What is leased will be lost. *closes: what would follow must not.
     * 0, or -1 with ENOMEM. */
    int (*answer_rest)(struct client *client, const char *text, bool *closes);
    /* All is answered, and nothing is wrong with the connection as far as the engine knows. May it
     * go back (POOL_DISCARD_COUNT), or why not; *keeps: it stays the client's instead (affinity).
     */
    enum pool_discard (*verdict)(struct client *client, bool *keeps);
    /* The upstream sent something that nobody expects. True: it is the client's, and so is the
     * connection from now on. */
    bool (*is_for_client)(const struct client *client);
};

/* What is counted of a client (F8). */
struct batch_stats {
    uint64_t commands; /* that were sent, or were answered with an error of ours instead */
    uint64_t leases;
    uint64_t from_cache[FROM_DEFERRED + 1]; /* of these */
    uint64_t prepared;                      /* with commands of ours (F3) */
    uint64_t retried;                       /* batches that were sent again (F4) */
};

/* A client whose commands go in batches. A protocol's own struct begins with it. */
struct batch_client {
    struct client client;
    const struct batch_protocol *protocol;
    struct batch_stats stats;
    struct conn_info conn; /* the last one; for the access log */
    bool failed;           /* it was logged that no connection could be had */
};

/* The same of a listener: a metric block. */
struct batch_counters {
    struct counter commands, leases, from_cache[FROM_DEFERRED + 1], prepared, retried;
};
extern const struct metric_set batch_metrics;

/* A protocol's part of a listener's context begins with it. */
struct batch_listener {
    struct batch *free_batches; /* to be used again */
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
/* struct protocol's. */
void batch_on_connection(struct session *session, const struct failure *failure);
void batch_on_drain(struct session *session);
struct conn_info *batch_conn_info(struct session *session);
void batch_log_fields(struct session *session, struct log_line *line);

/* A listener's part of a protocol, of so many bytes, all zero. */
MUST_CHECK int batch_listener_init(struct listener_context *context, size_t size);
void batch_listener_free(struct listener_context *context);
/* The session ends: frees its batch, and what its client holds. */
void batch_clear_client(struct client *client);

/* Frees what is before the client's commands. */
static inline void batch_clear_ours(struct batch *batch)
{
    if (batch->base.secret)
        buffer_wipe(&batch->base.up);
    buffer_clear(&batch->base.up);
}

/* May one more command join? */
bool batch_may_grow(const struct client *client);
/* A command is to be sent: its bytes, of client->in, whose front is consumed. `safe`: it may be
 * sent again. 0, or -1 with ENOMEM. */
MUST_CHECK int batch_add(struct client *client, size_t length, bool safe);
/* The same, with other bytes; `in` is left alone. */
MUST_CHECK int batch_add_bytes(struct client *client, const void *data, size_t length, bool safe);
/* Bytes of ours, behind the commands so far. */
MUST_CHECK int batch_add_ours(struct client *client, const void *data, size_t length);
/* The batch's lease may wait for its client, or for others. False: as many do as may (F9). */
bool batch_needs_hold(struct client *client);
/* None of the commands was sent: they go to another connection, that nobody has used. */
enum step batch_start_over(struct client *client, enum pool_discard reason);

/* batch_relay.c */

enum step batch_relay(struct client *client);
/* Reads once what the client has sent, behind what is in `in`. */
enum step batch_fill(struct client *client);
/* Takes commands from `in`. STEP_AGAIN: there may be more; STEP_BLOCKED: not before something is
 * read, or the batch is over. */
enum step batch_gather(struct client *client);
/* Goes on with the command whose rest is to come. */
enum step batch_stream(struct client *client);
/* Bytes in front of base.response_in that are for the client, and go together. */
struct batch_run {
    const char *data;
    size_t length;
};

static inline struct batch_run batch_run_begin(const struct client *client)
{
    return (struct batch_run){.data = buffer_data(&client->exchange->response_in)};
}

/* Passes them on; an empty run begins behind them. */
enum step batch_pass_run(struct client *client, struct batch_run *run);
/* A reply of ours: it goes with what comes next, and counts as work, of which a run does no more
 * than a piece. 0, or -1 with ENOMEM. */
MUST_CHECK int batch_put_down(struct client *client, const char *data, size_t length);
/* The client's commands go: there were none of ours, or their replies are good. */
enum step batch_open(struct client *client);
/* A reply to a command of the client's has begun: from now on nothing is sent again. */
void batch_reply_started(struct client *client);

/* batch_fail.c */

/* The batch cannot go on: what is leased is discarded, and each command that waits for its reply is
 * answered with an error, made of the failure's function and text, which is logged. A reply of
 * which a part is out is cut. */
enum step batch_fail(struct client *client, const struct failure *failure, enum session_end end,
                     enum pool_discard reason);
/* Commands are answered with an error that says this: logs it, and notes it for the access log. */
void batch_note_failure(struct client *client, const struct failure *failure);
/* The upstream sent what is no reply. */
enum step batch_fail_malformed(struct client *client);
/* All is answered with errors, and nothing leased: goes on with the client, or ends it. */
enum step batch_answered(struct client *client, bool closes, enum session_end end);
/* No connection could be had, which is noted already (session_set_failure). */
enum step batch_fail_connection(struct client *client, const struct failure *failure);
/* The client may not hold one more. A connection that was had already goes back as it came. */
enum step batch_fail_no_tunnel(struct client *client);
/* struct exchange_protocol's. */
enum step batch_upstream_failed(struct client *client, enum pool_discard reason);
enum step batch_unacked(struct client *client);
enum step batch_time_is_over(struct client *client);
/* The client of a blocking command that waits has left (R8). */
enum step batch_left_waiting(struct client *client);

/* That as a failure, noted and logged. */
void batch_no_tunnel(struct client *client, struct failure *failure);

#endif
