/* SPDX-License-Identifier: ISC */
/* What the pool's files above its core share; for them alone. Lowest first:
 *
 *   pool_core.h    what is decided, without I/O (and core_*.c)
 *   pool_types.c   names of reasons
 *   pool_names.c   a host's name: which addresses are gone from it
 *   pool_report.c  what the log says of a host: clients have to wait, it cannot be reached
 *   pool_grant.c   grants and failures on their way to those that asked
 *   pool_io.c      does what the core says, on the loop: dials, peeks, closes, time
 *   pool_service.c what operators want, and see
 *   pool_reload.c  what another configuration changes, and another process shares
 *   pool.c         what users call
 *
 * Nothing here calls a user: grants are posted. Every entry point ends with pool_io_run, which does
 * what is to be done now. */
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

/* A time in which clients have to wait because of a limit. */
struct held_up {
    unsigned limits;  /* which limits they met, a bit each; 0: none */
    unsigned waiting; /* allocations with held_up_at, most: the most at a time */
    unsigned most;
    uint64_t waited; /* how many there were */
    usec_t began;
    usec_t last;    /* when one of them left the queue */
    usec_t longest; /* wait */
    usec_t quiet;   /* how long nobody must have waited for it to be over */
    usec_t ended;   /* no limit holds: when the last time was over, 0: there was none */
    struct timer timer;
};

/* A time in which dials fail, and the host may be down. */
struct outage {
    uint64_t failures;             /* 0: there is none */
    usec_t began;                  /* with the first of them */
    usec_t ended;                  /* a dial went well, which is not reported yet; 0: none did */
    usec_t reported;               /* when it was logged last that it is over; 0: never */
    unsigned recoveries;           /* how often it was */
    bool down;                     /* it was reported that the host is down */
    int64_t down_since;            /* in Unix time, as all that follow; when it went down last */
    uint64_t refused;              /* allocations, while it is */
    struct failure last;           /* of the last dial that failed */
    int64_t last_at;               /* when that was; 0: never */
    int64_t connected_at;          /* when a dial succeeded last; 0: never */
    char since[LOG_TIMESTAMP_MAX]; /* when the host went down, if it is */
    struct timer timer;            /* ended: until it is reported */
};

struct pool_host {
    struct pool *pool;
    struct core_host core;
    struct tls_client *tls;  /* for its dials, counted; NULL: none */
    unsigned retained;       /* how often */
    struct name_watch watch; /* of the endpoint's addr, unless that is numeric */
    struct task name_task;   /* posted: to look for addresses that are missing or gone */
    struct held_up held_up;
    struct outage outage;
    int64_t resumed_at;     /* when a pause of it ended last, in Unix time; 0: never */
    struct repeats repeats; /* of failures that no waiter hears of */
};

struct pool {
    struct loop *loop;
    struct resolver *resolver;
    char name[POOL_NAME_MAX + 1];
    struct pool_core core;
    struct limits_stats limits_stats;
    struct timer timer;            /* always set, so that setting it again takes no memory */
    usec_t timer_at;               /* not later than the core's next time */
    struct allocation_list grants; /* posted */
    unsigned posted;
    struct task grant_task;
    void (*changed)(struct pool *pool, void *arg); /* NULL: nobody wants to know */
    void *changed_arg;
    void (*gone)(struct pool *pool, void *arg); /* NULL: it is not retired */
    void *gone_arg;
    struct task gone_task; /* posted when it has no hosts */
};

static inline struct pool_conn *pool_conn_of(struct core_conn *conn)
{
    return container_of(conn, struct pool_conn, core);
}

/* How long an allocation may take in all. */
static inline usec_t pool_timeout(const struct allocation *allocation)
{
    return allocation->timeout != 0 ? allocation->timeout : allocation->pool->core.limits.timeout;
}

static inline struct pool_host *pool_host_of(struct core_host *host)
{
    return container_of(host, struct pool_host, core);
}

/* pool_names.c: nothing here has an effect on a host with a numeric address. */

/* Begins to follow what the host's name stands for, and posts name_task when that changes. 0, or -1
 * with ENOMEM. */
MUST_CHECK int pool_names_watch(struct pool_host *host);
void pool_names_unwatch(struct pool_host *host);
/* The host is in use: asks for its name in the background when the answer is over. */
void pool_names_refresh(struct pool_host *host);
/* Does so even when it is not in use, as long as it keeps preconnected connections. */
void pool_names_keep_fresh(struct pool_host *host);
/* Tells the core whether a connection's address is gone from its name; one that is missing is asked
 * for again. */
void pool_names_check(struct pool_conn *conn);
/* The same for all connections of a host: those that are idle are closed, those in use when they
 * are released, those being dialled are checked when they are connected. */
void pool_names_check_all(struct pool_host *host);

/* pool_report.c */

void pool_report_begin(struct pool_host *host);
/* The host is about to be freed: reports what is over by that. */
void pool_report_end(struct pool_host *host);
/* This waiter has no dial, because of a limit: a warning, if it is the first one. */
void pool_report_wait(struct allocation *allocation);
/* It leaves the queue. */
void pool_report_wait_over(struct allocation *allocation);
/* A dial failed for this reason, or went well. */
void pool_report_failure(struct pool_host *host, const struct failure *failure);
/* By that the host is down. */
void pool_report_down(struct pool_host *host);
/* Why an allocation is refused while it is. */
void pool_report_refused(struct pool_host *host, struct failure *failure);
void pool_report_connected(struct pool_host *host);
/* It is down no more, without a dial [42]. */
void pool_report_up(struct pool_host *host);
/* Nobody waits who could be called. */
void pool_report_not_preconnected(struct pool_host *host, const struct failure *failure);
/* NULL, or what is wrong. */
const char *pool_report_check(const struct pool_host *host);

/* pool_grant.c */

/* Posts what the core has granted, or failed, to its owner. A failure's text is formatted, or all
 * of it is copied. */
void pool_grant_post(struct allocation *allocation);
void pool_grant_fail(struct allocation *allocation, const char *function, int number,
                     const char *format, ...) PRINTF(4, 5);
void pool_grant_fail_as(struct allocation *allocation, const struct failure *failure);
/* Takes back what was posted. */
void pool_grant_withdraw(struct allocation *allocation);
/* The pool's grant_task: delivers what is posted. */
void pool_grant_deliver(struct task *task);

/* pool_reload.c */

void pool_reload_init(struct pool *pool);
/* A host is gone: if it was the last one of a pool that is retired that is made known. */
void pool_reload_note_gone(struct pool *pool);

/* pool_io.c */

/* Readies the loop's part of a new pool. 0, or -1 with ENOMEM. */
MUST_CHECK int pool_io_init(struct pool *pool);
void pool_io_clear(struct pool *pool);
/* The host of an endpoint; made if need be (NULL with ENOMEM then). */
struct pool_host *pool_io_get_host(struct pool *pool, const struct endpoint *endpoint);
/* Does all that is to be done, and frees hosts that nothing needs any more. */
void pool_io_run(struct pool *pool);
void pool_io_free_empty_hosts(struct pool *pool);
static inline void pool_io_free_hosts(struct pool *pool)
{
    if (pool_core_empty_host(&pool->core) != NULL) /* seldom */
        pool_io_free_empty_hosts(pool);
}
static inline void pool_io_changed(struct pool *pool)
{
    if (pool->changed != NULL)
        pool->changed(pool, pool->changed_arg);
}
enum pool_peek pool_io_peek(struct pool_conn *conn);
/* What became of a connection that was ready: granted to this request, whose owner will be called,
 * or (NULL) idle, or to be closed. */
void pool_io_placed(struct pool_conn *conn, struct core_request *request);
/* Frees what is attached to a connection. */
void pool_io_detach(struct pool_conn *conn);
/* The connection is nobody's: when it becomes readable it is peeked at. To be called before the
 * core is called. */
static inline void pool_io_watch_idle(struct pool_conn *conn)
{
    stream_set_handler(&conn->stream, &conn->idle_handler);
}
/* For the log: the connection's last change of state. */
void pool_io_log_state_now(const struct pool_conn *conn, const char *why);
static inline void pool_io_log_state(const struct pool_conn *conn, const char *why)
{
    if (log_enabled(LOG_LEVEL_DEBUG))
        pool_io_log_state_now(conn, why);
}

#endif
