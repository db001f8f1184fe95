/* Names to addresses, on the loop. Look-ups of one name that run at the same time share one
 * query; one that is cancelled is not lost to the others (POOL 22).
 *
 * An answer that came with a TTL is kept for it, within RESOLVER_TTL_MIN and _MAX. After that it is
 * asked for anew; while this fails (in whatever way, "no such name" included) or takes longer than
 * RESOLVER_PATIENCE, the last good answer serves for RESOLVER_STALE_MAX more (RFC 8767), and the
 * name is asked for once in RESOLVER_RETRY. The log is told when that begins and when it ends. */
#ifndef KAPROXY_RESOLVER_H
#define KAPROXY_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "address.h"
#include "loop.h"
#include "util.h"

#define RESOLVER_TTL_MIN   (1 * USEC_PER_SEC)
#define RESOLVER_TTL_MAX   (3600 * USEC_PER_SEC)
#define RESOLVER_STALE_MAX (3600 * USEC_PER_SEC)
#define RESOLVER_PATIENCE  (2 * USEC_PER_SEC)
#define RESOLVER_RETRY     (5 * USEC_PER_SEC)

#define RESOLVER_SERVERS_MAX 16

/* So many answers are kept of names that nobody looks up or watches just now. */
#define RESOLVER_UNUSED_MAX 256

struct resolver;
struct query;
struct name;

/* One asker's look-up, embedded in the asker, who sets `done` and leaves the rest zero. */
struct lookup {
    void (*done)(struct lookup *lookup, const union address *addresses, size_t count,
                 const char *error);
    TAILQ_ENTRY(lookup) link; /* the resolver's, as what follows */
    struct name *name;
    uint64_t serial;
};

/* Somebody's interest in what a name stands for, embedded in its owner, who sets `changed` and
 * leaves the rest zero. changed is told that a kept answer has other addresses than the one before;
 * it must not watch, unwatch or look up from inside. */
struct name_watch {
    void (*changed)(struct name_watch *watch);
    TAILQ_ENTRY(name_watch) link; /* the resolver's, as what follows */
    struct name *name;
    bool keeps_fresh;
};

/* What answers queries. start begins one and calls query_answer or query_answer_kept exactly once,
 * later, never from inside start; 0, or -1 with errno and no answer comes. stop is called when the
 * resolver is freed: unanswered queries are then dropped (the back end must not answer them any
 * more). */
struct resolver_backend {
    int (*start)(struct resolver_backend *backend, struct query *query, const char *name);
    void (*stop)(struct resolver_backend *backend);
};

/* The resolver owns the back end from here on: resolver_free calls its stop. NULL with errno (the
 * back end is then still the caller's). */
struct resolver *resolver_new(struct loop *loop, struct resolver_backend *backend);

/* No look-up may be under way and nothing be watched; not from inside a callback. */
void resolver_free(struct resolver *resolver);

/* The system's resolver: c-ares with both address families, ordered by RFC 6724. */
struct resolver_ares_options {
    /* DNS servers to ask instead of resolv.conf's, as address_parse_list reads them, at most
     * RESOLVER_SERVERS_MAX. NULL or "": those of resolv.conf. */
    const char *servers;
    const char *resolv_conf; /* NULL: the system's. It is read anew when it has changed. */
};

/* The options are borrowed until the resolver is freed. NULL with errno; EINVAL: servers cannot be
 * read. */
struct resolver_backend *resolver_ares_new(struct loop *loop,
                                           const struct resolver_ares_options *options);

/* Starts a look-up. `done` is called once, never from inside this call, unless cancelled: with
 * addresses (in the order to try; valid only during the call), or count 0 and error, a text for
 * people ("Host has no address." where the name exists but has none, POOL 23). 0, or -1 with
 * errno, and done is not called. */
MUST_CHECK int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *name);

/* Takes a look-up back; one that is not under way is left alone. Its query goes on, for the others
 * or for a look-up still to come. */
void resolver_cancel(struct resolver *resolver, struct lookup *lookup);

/* Watches a name, without asking for it. 0, or -1 with ENOMEM. */
MUST_CHECK int resolver_watch(struct resolver *resolver, struct name_watch *watch,
                              const char *name);
void resolver_unwatch(struct name_watch *watch);

/* Asks for a watched name in the background when the answer kept for it is over; cheap when not.
 * With no answer kept there is nothing to refresh. */
void resolver_refresh(struct name_watch *watch);

/* Whether this is done each time the answer is over, as long as anybody wants so. */
void resolver_keep_fresh(struct name_watch *watch, bool keep);

/* Whether an address (its port does not count) is in the last good answer; true without one. */
bool resolver_has_address(const struct name_watch *watch, const union address *address);

/* For back ends: the answer to a query, which is gone afterwards, and which is not kept. error NULL
 * with count 0 means "no address"; with an error the addresses do not count. */
void query_answer(struct query *query, const union address *addresses, size_t count,
                  const char *error);

/* The same for addresses that may be kept for ttl. */
void query_answer_kept(struct query *query, const union address *addresses, size_t count,
                       usec_t ttl);

#endif
