/* What the pool's files share; for them alone. Numbers in brackets are statements of
 * tests/conformance/POOL.
 *
 *   pool_conn.c   a connection: its transitions, its dial, its end
 *   pool_host.c   a host: its waiters, which of them a dial covers, its spares
 *   pool_names.c  a host's name: what follows when it stands for other addresses
 *   pool_report.c what the log says of a host: clients have to wait, it cannot be reached
 *   pool.c        the pool: what users call, the queue, the clocks
 *   pool_check.c  counts against lists, for tests
 *
 * Nothing here calls a user: answers are posted. Every entry point ends with pool_serve, the one
 * place that gives room to who waits for it [13] and frees hosts that nothing needs any more. */
#ifndef KAPROXY_POOL_INTERNAL_H
#define KAPROXY_POOL_INTERNAL_H

#include "net/repeats.h"
#include "pool/pool.h"

enum conn_state {
    CONN_NEW,
    CONN_CONNECTING,
    CONN_BUSY,
    CONN_HELD, /* leased for as long as its user likes: not under max_per_host [31] */
    CONN_IDLE,
    CONN_CLOSED,
    CONN_STATES
};

TAILQ_HEAD(conn_list, pool_conn);
TAILQ_HEAD(allocation_list, allocation);
TAILQ_HEAD(host_list, pool_host);

struct pool_conn {
    struct pool *pool;
    struct pool_host *host;
    uint64_t number; /* in logs */
    enum conn_state state;
    unsigned uses;            /* leases so far, the present one included */
    struct allocation *lease; /* BUSY, HELD */
    bool may_hold;            /* BUSY: one of max_tunnels is reserved for it */
    struct dial *dial;        /* CONNECTING */
    usec_t born;              /* when it was connected */
    usec_t max_age;           /* the pool's, or up to 10 % less; 0: any age */
    bool address_gone;        /* its address is gone from its name */
    usec_t idle_since;        /* IDLE */
    usec_t stay;              /* the upstream's hint; 0: none */
    struct timer stay_timer;  /* IDLE with a hint shorter than keep_alive */
    struct stream_handler idle_handler;
    struct dial_handler dial_handler;
    TAILQ_ENTRY(pool_conn) link; /* in its host's list of its state */
    TAILQ_ENTRY(pool_conn) lru;  /* IDLE: in the pool's list, longest idle first */
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

/* A time in which dials fail. */
struct outage {
    uint64_t failures;   /* 0: there is none */
    usec_t began;        /* with the first of them */
    usec_t ended;        /* a dial went well, which is not reported yet; 0: none did */
    usec_t reported;     /* when the log was told last that it is over; 0: never */
    unsigned recoveries; /* how often it was */
    struct timer timer;  /* ended: until it is reported */
};

struct pool_host {
    struct pool *pool;
    struct endpoint endpoint;
    struct tls_client *tls;              /* for its dials; NULL: none */
    struct conn_list conns[CONN_STATES]; /* IDLE and CONNECTING: newest first */
    unsigned count[CONN_STATES];
    unsigned may_hold;              /* connections with that mark */
    struct allocation_list waiters; /* oldest first */
    unsigned waiting;
    /* Dials are not tied to waiters, but each dial under way covers one: the oldest min(dials,
     * waiters) are covered, and the next one is the one that wants another dial. */
    unsigned covered;
    struct allocation *uncovered; /* the oldest waiter without a dial, or NULL */
    struct heap_node hungry;      /* in pool->hungry while `uncovered` could use a free slot */
    bool pinned;                  /* stays when it is empty */
    bool keeps_spares;
    bool greets;              /* early bytes on an unused connection are for its first user */
    bool wants_spares;        /* in pool->wanting */
    bool has_surplus;         /* in pool->surplus */
    bool empty;               /* in pool->empties */
    usec_t backoff;           /* the last pause between dials for spares */
    struct timer retry_timer; /* set: no dials for spares */
    struct name_watch watch;  /* of endpoint.addr, unless that is numeric */
    struct task name_task;    /* posted: to look for addresses that are missing or gone */
    struct held_up held_up;
    struct outage outage;
    struct repeats repeats; /* of failures that no waiter hears of */
    TAILQ_ENTRY(pool_host) hosts;
    TAILQ_ENTRY(pool_host) wanting;
    TAILQ_ENTRY(pool_host) surplus;
    TAILQ_ENTRY(pool_host) empties;
};

enum pool_phase { POOL_OPEN, POOL_DRAINING, POOL_SHUT };

struct pool {
    struct loop *loop;
    struct resolver *resolver;
    const char *name;
    struct pool_limits limits;
    struct dial_options dial_options; /* of every dial, but for tls */
    enum pool_phase phase;
    void *tree; /* tsearch(3): the endpoints of the hosts */
    struct host_list hosts;
    size_t host_count;
    int64_t serial; /* of the last allocation */
    struct conn_list idle;
    struct timer idle_timer;        /* keep_alive of all idle connections */
    struct heap hungry;             /* hosts by the serial of their oldest uncovered waiter */
    struct host_list wanting;       /* hosts that want spares */
    struct host_list surplus;       /* hosts with dials that nobody waits for */
    struct host_list empties;       /* hosts to be freed */
    struct allocation_list waiters; /* of all hosts, by `arrival`, oldest first */
    struct allocation_list answers; /* posted */
    unsigned posted;
    struct task answer_task;
    struct pool_stats stats; /* the counts of now are kept here as well */
};

/* What counts under max_per_host. */
static inline unsigned host_open(const struct pool_host *host)
{
    return host->count[CONN_CONNECTING] + host->count[CONN_BUSY] + host->count[CONN_IDLE];
}

/* What counts under max_tunnels. */
static inline unsigned host_tunnels(const struct pool_host *host)
{
    return host->count[CONN_HELD] + host->may_hold;
}

/* Nothing refers to it. */
static inline bool host_is_empty(const struct pool_host *host)
{
    return host_open(host) + host->count[CONN_HELD] + host->waiting == 0;
}

/* What counts under max_open. */
static inline unsigned pool_open(const struct pool *pool)
{
    return pool->stats.connecting + pool->stats.busy + pool->stats.held + pool->stats.idle;
}

/* Whether max_connecting leaves room for one more dial. */
static inline bool host_may_dial(const struct pool_host *host)
{
    return host->count[CONN_CONNECTING] < host->pool->limits.max_connecting;
}

/* Dials that no waiter of the host needs. */
static inline unsigned host_surplus(const struct pool_host *host)
{
    return host->count[CONN_CONNECTING] - host->covered;
}

static inline usec_t allocation_timeout(const struct allocation *allocation)
{
    return allocation->timeout != 0 ? allocation->timeout : allocation->pool->limits.timeout;
}

/* pool_conn.c */

/* Starts a dial for a host that may dial. 0, or -1 with ENOMEM. */
MUST_CHECK int conn_dial(struct pool_host *host, bool spare);
/* Hands a connection to an allocation, whose answer is thereby decided. */
void conn_lease(struct pool_conn *conn, struct allocation *allocation, enum from_cache from_cache);
/* What pool_reserve_hold, pool_hold and pool_unhold do to a leased connection. */
MUST_CHECK bool conn_reserve_hold(struct pool_conn *conn);
void conn_hold(struct pool_conn *conn);
MUST_CHECK bool conn_unhold(struct pool_conn *conn);
/* Makes it idle, or closes it where the pool keeps nothing idle. */
void conn_park(struct pool_conn *conn);
/* True when it may be used once more; else it is closed, with the reason counted. usable takes the
 * look at the socket [18]; within_limits is for who has just taken it. */
bool conn_usable(struct pool_conn *conn);
bool conn_within_limits(struct pool_conn *conn);
/* Ends it in any state and frees it. */
void conn_close(struct pool_conn *conn, enum pool_discard reason, bool reset);

/* pool_host.c */

/* The host of an endpoint; made if need be (NULL with ENOMEM then). */
struct pool_host *host_get(struct pool *pool, const struct endpoint *endpoint);
/* The same, but NULL where there is none yet. */
struct pool_host *host_find(const struct pool *pool, const struct endpoint *endpoint);
void host_free(struct pool_host *host);
void host_add_waiter(struct pool_host *host, struct allocation *allocation);
void host_remove_waiter(struct pool_host *host, struct allocation *allocation);
/* The oldest waiter that this connection can be given to, or NULL. It may be one that needs a fresh
 * one and has no dial yet: then the connection's place is for it. */
struct allocation *host_waiter_for(const struct pool_host *host, const struct pool_conn *conn);
/* Says why a waiter of the host's has not been answered within its time [20]. */
void host_explain_timeout(const struct pool_host *host, const struct allocation *waiter,
                          struct failure *failure);
/* Brings coverage and the pool's lists of hosts up to date; to be called after every change. */
void host_update(struct pool_host *host);
/* Cancels dials that nobody waits for and that are no spares. */
void host_trim(struct pool_host *host);
/* A dial failed, or the upstream closed a new connection unused: wait before the next spare. */
void host_back_off(struct pool_host *host);
/* A connection proved useful: forget failures. */
void host_proved(struct pool_host *host);

/* pool_names.c: nothing here has an effect on a host with a numeric address. */

/* Begins to follow what the host's name stands for. 0, or -1 with ENOMEM. */
MUST_CHECK int host_watch_name(struct pool_host *host);
void host_unwatch_name(struct pool_host *host);
/* The host is in use: asks for its name in the background when the answer is over. */
void host_refresh_name(struct pool_host *host);
/* Does so even when it is not in use, as long as it keeps spares. */
void host_keep_name_fresh(struct pool_host *host);
/* Finds out whether a connection's address is gone from its name; one that is missing is asked for
 * again. */
void conn_check_address(struct pool_conn *conn);

/* pool_report.c */

/* What a waiter waits for that no dial is under way for: a limit of its host, or of the pool. */
enum limit { LIMIT_MAX_PER_HOST, LIMIT_MAX_CONNECTING, LIMIT_MAX_OPEN, LIMIT_COUNT };
enum limit host_limit(const struct pool_host *host);
const char *limit_name(enum limit limit);
unsigned limit_value(const struct pool *pool, enum limit limit);

/* This waiter has no dial, because of a limit: a warning, if it is the first one. */
void host_note_wait(struct pool_host *host, struct allocation *allocation);
/* It leaves the queue. */
void host_note_wait_over(struct pool_host *host, struct allocation *allocation);
/* A dial failed, or went well. */
void host_note_failure(struct pool_host *host);
void host_note_connected(struct pool_host *host);
/* Nobody waits who could be told. */
void host_warn_no_spare(struct pool_host *host, const struct failure *failure);
void host_begin_reports(struct pool_host *host);
/* The host is about to be freed: reports what is over by that. */
void host_end_reports(struct pool_host *host);

/* pool.c */

void pool_answer(struct allocation *allocation);
/* Decides an allocation's answer as a failure. The text is formatted, or all of it is copied. */
void pool_fail(struct allocation *allocation, const char *function, int number, const char *format,
               ...) PRINTF(4, 5);
void pool_fail_as(struct allocation *allocation, const struct failure *failure);
/* A connection stands ready, dialled or released: to the oldest waiter, or idle. */
void pool_place(struct pool_conn *conn, enum from_cache from_cache);
void pool_serve(struct pool *pool);

#endif
