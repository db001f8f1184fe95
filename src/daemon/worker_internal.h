/* SPDX-License-Identifier: ISC */
/* Shared by the files of the worker; for them alone.
 *
 *   worker.c             its thread, and requests to it
 *   worker_handover.c    shares places with a predecessor or a successor, and serves or leaves
 *   worker_generation.c  makes a configuration take effect: pools, listeners, resolver
 *   worker_view.c        what can be seen of it */
#ifndef KAPROXY_WORKER_INTERNAL_H
#define KAPROXY_WORKER_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "daemon/certificates.h"
#include "daemon/listener.h"
#include "daemon/places.h"
#include "daemon/requests.h"
#include "daemon/worker.h"
#include "http1/http1_compose.h"
#include "net/loop.h"
#include "net/pipes.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "tls/keyed_digest.h"

/* The most that one read returns. Smaller reads make the kernel send acknowledgements and wake
 * processes more often, which is the main cost of bulk data; much larger ones do not fit the
 * processor's cache. */
#define SCRATCH_SIZE (256 * 1024)

/* An order to stop. */
struct stop {
    struct message message;
    const char *signal_name; /* NULL: none yet */
};

/* A request under way: the control thread's, except between posting and answer, */
struct request {
    struct message asked, answered;
    bool done; /* when it is the worker thread's */
};

/* A pool by its name, across configurations: it is freed when no configuration, view or handover
 * uses it and it has no connections. */
struct worker_pool {
    struct worker *worker;
    char *name;
    struct pool *pool;
    unsigned uses;
    bool retired;
    TAILQ_ENTRY(worker_pool) link;
};

/* What a view holds of one listener. */
struct held_listener {
    const struct config_listener *config;
    const struct protocol *protocol;
    struct listener_counters *counters;
    struct pool_host *host;
    struct tls_client *tls; /* NULL: none */
    char upstream[ENDPOINT_TEXT_MAX];
    bool is_first_of_host, is_first_of_tls; /* none of the hosts before it is the same */
    bool has_double; /* another host of its pool differs from it by TLS alone */
};

struct worker_view {
    struct worker *worker;
    struct admin_view admin;
    TAILQ_ENTRY(worker_view) link;
    struct message released; /* being returned */
    bool is_released;        /* the control thread's: it was posted */
    struct config *config;   /* a reference */
    struct held_listener *listeners;
    size_t listener_count;
    struct held_listener **hosts; /* one per host, sorted by it */
    size_t host_count;
    struct worker_pool **pools;
    size_t pool_count;
    struct metric_block *blocks;
};

struct worker {
    struct config *config; /* a reference */
    uint64_t generation;   /* its number */
    struct loop *loop;
    struct resolver *resolver;
    struct config *resolver_config; /* whose key `resolver` it borrows: a reference */
    TAILQ_HEAD(, worker_pool) all_pools;
    struct worker_pool **pools; /* of the config, in order */
    struct pool **pool_list;    /* the same */
    TAILQ_HEAD(, worker_view) views;
    struct listeners listeners;
    struct pipes pipes;
    struct certificates certificates;
    struct keyed_digest *digest;
    struct timer
        deadline; /* shutdown_timeout; for the sessions of a process that left, slightly less */
    struct places *places;             /* shared in a handover; NULL: none */
    struct worker_pool **places_pools; /* known to it, each with a use */
    size_t places_pool_count;
    struct places_handler places_handler;
    bool waits;       /* until the predecessor lets us serve */
    bool leaves;      /* a successor serves */
    bool leaves_last; /* and sessions were told to end */
    /* For the control thread. */
    pthread_t thread;
    bool running; /* the thread exists */
    sem_t go;     /* it may begin */
    struct mailbox *control;
    struct message *ended;
    struct stop soft, hard;
    struct message ping;
    _Atomic usec_t pinged_at; /* since when the loop has not answered; else 0 */
    struct loop_stats {
        struct gauge lag; /* in microseconds */
    } loop_stats;
    struct request command_request, snapshot_request, install_request;
    struct message yield, resume, leave; /* orders, each given once at a time */
    int yield_places;
    struct message expect_copies, expect_none;
    struct message *copies_expected;   /* the answer */
    struct message *serving;           /* posted when we serve */
    struct command *command;           /* NULL: none under way */
    struct snapshot_request *snapshot; /* the same */
    struct worker_install *install;    /* the same */
    struct worker_view *view;          /* that of the start, until it was taken */
    _Atomic enum admin_life life;      /* changed by the worker's thread */
    char scratch[SCRATCH_SIZE];
    char compose[HTTP1_COMPOSE_MAX];
};

/* worker.c */

void worker_update_life(struct worker *worker);
void worker_end_now(struct worker *worker);
void worker_drain_pools(struct worker *worker);

/* worker_handover.c */

void worker_handover_init(struct worker *worker);
/* The new end: waits from now on. 0, or -1 with errno. */
MUST_CHECK int worker_wait_for_places(struct worker *worker, int places);
/* In a process that leaves: shutdown_timeout has nearly passed. False: it has passed. */
bool worker_handover_deadline(struct worker *worker);

/* Nothing is shared any more. */
void worker_end_places(struct worker *worker);

/* worker_generation.c */

/* Takes a configuration, before the worker runs or on its thread. NULL with errno: nothing has
 * changed. */
struct worker_view *worker_take_up(struct worker *worker, const struct generation *generation);
void worker_free_pools(struct worker *worker);
/* From now on hosts keep their min_idle connections ready. */
void worker_set_preconnected(const struct worker *worker);
const char *worker_pool_name(const struct config_pool *pool);
/* One use less; it is freed when it has none. */
void worker_pool_unuse(struct worker_pool *pool);
/* Those of a list, which is freed. */
void worker_unuse_pools(struct worker_pool **pools, size_t count);

/* worker_view.c */

/* For what is prepared, and not yet in effect. NULL with ENOMEM. */
struct worker_view *worker_view_new(struct worker *worker, const struct generation *generation,
                                    struct worker_pool *const *pools,
                                    const struct listeners_change *change);
/* Does a listener of it use this host? */
bool worker_view_has_host(const struct worker_view *view, const struct pool_host *host);
/* On the worker's thread, or when there is none. NULL is harmless. */
void worker_view_free(struct worker_view *view);

#endif
