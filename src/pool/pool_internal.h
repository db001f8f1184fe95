/* SPDX-License-Identifier: ISC */
/* Shared by the pool's files above its core; for them only. Lowest first:
 *
 *   pool_core.h    decisions, without I/O (and core_*.c)
 *   pool_types.c   names of reasons
 *   pool_names.c   a host's name: which addresses it no longer has
 *   pool_report.c  what is logged of a host: clients have to wait, it cannot be reached
 *   pool_grant.c   grants and failures on their way to their owners
 *   pool_io.c      carries out what the core says, on the loop: dials, peeks, closes, time
 *   pool_service.c what operators set, and see
 *   pool_reload.c  what another configuration changes, and another process shares
 *   pool.c         what users call
 *
 * Nothing here calls a user: grants are posted. Every entry point ends with pool_io_run, which does
 * everything that is due. */
#ifndef KAPROXY_POOL_INTERNAL_H
#define KAPROXY_POOL_INTERNAL_H

#include "base/log.h"
#include "net/repeats.h"
#include "pool/pool.h"

TAILQ_HEAD(allocation_list, allocation);

struct pool_conn {
    struct pool *pool;
    uint64_t number; /* in logs */
    struct core_conn core;
    struct dial *dial; /* CONNECTING */
    union address bind_address;
    void *attached; /* by its users */
    void (*free_attached)(void *);
    struct stream_handler idle_handler;
    struct dial_handler dial_handler;
    struct stream stream;
};

/* A period in which clients have to wait because of a limit. */
struct held_up {
    unsigned limits;  /* the limits involved, as bits; 0: none */
    unsigned waiting; /* allocations with held_up_at; most: the maximum */
    unsigned most;
    uint64_t waited; /* how many there were */
    usec_t began;
    usec_t last;    /* when one of them last left the queue */
    usec_t longest; /* the longest wait */
    usec_t quiet;   /* how long there must be no waiter for it to end */
    usec_t ended;   /* no limit applies: when the last period ended, 0: never */
    struct timer timer;
};

/* A period in which dials fail, and the host may be down. */
struct outage {
    uint64_t failures;             /* 0: there is none */
    usec_t began;                  /* time of the first of them */
    usec_t ended;                  /* a dial succeeded, which is not reported yet; 0: none did */
    usec_t reported;               /* when its end was last logged; 0: never */
    unsigned recoveries;           /* how often it was */
    bool down;                     /* it was reported that the host is down */
    int64_t down_since;            /* in Unix time, like the following; when it last went down */
    uint64_t refused;              /* allocations, while it is down */
    struct failure last;           /* of the last failed dial */
    int64_t last_at;               /* time of that; 0: never */
    int64_t connected_at;          /* when a dial last succeeded; 0: never */
    char since[LOG_TIMESTAMP_MAX]; /* when the host went down, if it is */
    struct timer timer;            /* ended: until it is reported */
};

struct pool_host {
    struct pool *pool;
    struct core_host core;
    struct tls_client *tls;  /* for its dials, reference-counted; NULL: none */
    unsigned retained;       /* how often */
    struct name_watch watch; /* for the endpoint's addr, unless that is numeric */
    struct task name_task;   /* posted: check for addresses that are missing or gone */
    struct held_up held_up;
    struct outage outage;
    int64_t resumed_at;     /* when its last pause ended, in Unix time; 0: never */
    struct repeats repeats; /* of failures that no waiter is notified of */
};

struct pool {
    struct loop *loop;
    struct resolver *resolver;
    char name[POOL_NAME_MAX + 1];
    struct pool_core core;
    struct limits_stats limits_stats;
    struct timer timer;            /* always set, so that setting it again needs no memory */
    usec_t timer_at;               /* no later than the core's next time */
    struct allocation_list grants; /* posted */
    unsigned posted;
    struct task grant_task;
    void (*changed)(struct pool *pool, void *arg); /* NULL: none */
    void *changed_arg;
    void (*gone)(struct pool *pool, void *arg); /* NULL: not retired */
    void *gone_arg;
    struct task gone_task; /* posted when it has no hosts */
};

static inline struct pool_conn *pool_conn_of(struct core_conn *conn)
{
    return container_of(conn, struct pool_conn, core);
}

/* How long an allocation may take in total. */
static inline usec_t pool_timeout(const struct allocation *allocation)
{
    return allocation->timeout != 0 ? allocation->timeout : allocation->pool->core.limits.timeout;
}

static inline struct pool_host *pool_host_of(struct core_host *host)
{
    return container_of(host, struct pool_host, core);
}

/* pool_names.c: has no effect on a host with a numeric address. */

/* Begins to follow the addresses of the host's name, and posts name_task when they change. 0, or -1
 * with ENOMEM. */
MUST_CHECK int pool_names_watch(struct pool_host *host);
void pool_names_unwatch(struct pool_host *host);
/* The host is in use: looks up its name in the background if the answer has expired. */
void pool_names_refresh(struct pool_host *host);
/* Does so even if it is not in use, as long as it keeps preconnected connections. */
void pool_names_keep_fresh(struct pool_host *host);
/* Reports to the core whether a connection's address is no longer one of its name; a missing
 * address is looked up again. */
void pool_names_check(struct pool_conn *conn);
/* The same for all connections of a host: idle ones are closed, those in use when they are
 * released; those being dialled are checked once they are connected. */
void pool_names_check_all(struct pool_host *host);

/* pool_report.c */

void pool_report_begin(struct pool_host *host);
/* The host is about to be freed: reports periods that end with it. */
void pool_report_end(struct pool_host *host);
/* This waiter has no dial because of a limit: logs a warning, if it is the first one. */
void pool_report_wait(struct allocation *allocation);
/* It leaves the queue. */
void pool_report_wait_over(struct allocation *allocation);
/* A dial failed for this reason, or succeeded. */
void pool_report_failure(struct pool_host *host, const struct failure *failure);
/* As a result the host is down. */
void pool_report_down(struct pool_host *host);
/* Why an allocation is refused while it is. */
void pool_report_refused(struct pool_host *host, struct failure *failure);
void pool_report_connected(struct pool_host *host);
/* It is no longer down, without a dial [42]. */
void pool_report_up(struct pool_host *host);
/* There is no waiter to be notified. */
void pool_report_not_preconnected(struct pool_host *host, const struct failure *failure);
/* NULL, or what is wrong. */
const char *pool_report_check(const struct pool_host *host);

/* pool_grant.c */

/* Posts what the core has granted, or failed, to its owner. The failure's text is formatted, or all
 * of it copied. */
void pool_grant_post(struct allocation *allocation);
void pool_grant_fail(struct allocation *allocation, const char *function, int number,
                     const char *format, ...) PRINTF(4, 5);
void pool_grant_fail_as(struct allocation *allocation, const struct failure *failure);
/* Withdraws what was posted. */
void pool_grant_withdraw(struct allocation *allocation);
/* The pool's grant_task: delivers what is posted. */
void pool_grant_deliver(struct task *task);

/* pool_reload.c */

void pool_reload_init(struct pool *pool);
/* A host is gone: if it was the last one of a retired pool, `gone` is called. */
void pool_reload_note_gone(struct pool *pool);

/* pool_io.c */

/* Prepares the loop's part of a new pool. 0, or -1 with ENOMEM. */
MUST_CHECK int pool_io_init(struct pool *pool);
void pool_io_clear(struct pool *pool);
/* The host of an endpoint; created if necessary (NULL with ENOMEM then). */
struct pool_host *pool_io_get_host(struct pool *pool, const struct endpoint *endpoint);
/* Does everything that is due, and frees hosts that are no longer needed. */
void pool_io_run(struct pool *pool);
void pool_io_free_empty_hosts(struct pool *pool);
static inline void pool_io_free_hosts(struct pool *pool)
{
    if (pool_core_empty_host(&pool->core) != NULL) /* rare */
        pool_io_free_empty_hosts(pool);
}
static inline void pool_io_changed(struct pool *pool)
{
    if (pool->changed != NULL)
        pool->changed(pool, pool->changed_arg);
}
enum pool_peek pool_io_peek(struct pool_conn *conn);
/* What happened to a connection that was ready: granted to this request, whose owner will be
 * called, or (NULL) idle, or to be closed. */
void pool_io_placed(struct pool_conn *conn, struct core_request *request);
/* Frees what is attached to a connection. */
void pool_io_detach(struct pool_conn *conn);
/* The connection belongs to no lease: when it becomes readable it is peeked at. To be called before
 * the core is. */
static inline void pool_io_watch_idle(struct pool_conn *conn)
{
    stream_set_handler(&conn->stream, &conn->idle_handler);
}
/* Logs the connection's last change of state. */
void pool_io_log_state_now(const struct pool_conn *conn, const char *why);
static inline void pool_io_log_state(const struct pool_conn *conn, const char *why)
{
    if (log_enabled(LOG_LEVEL_DEBUG))
        pool_io_log_state_now(conn, why);
}

#endif
