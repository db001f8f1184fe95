/* SPDX-License-Identifier: ISC */
/* Names to addresses, on the loop. Lookups of one name that run at the same time share one
 * query; one that is cancelled is not lost to the others (POOL 22).
 *
 * A query asks for both families, which come, or fail, each by itself. Once one has come with
 * addresses the other one is waited for no longer than RESOLVER_DELAY (RFC 8305 section 3); when it
 * comes later it is for later lookups. A family that has failed, or is late, keeps its last good
 * addresses, and is not waited for until it has come again.
 *
 * What has come is kept for its TTL, within RESOLVER_TTL_MIN and _MAX. After that it is asked for
 * again; while this fails (in whatever way, "no such name" included) or takes longer than
 * RESOLVER_WAIT_MAX, the last good answer serves for RESOLVER_STALE_MAX more (RFC 8767), and the
 * name is asked for once in RESOLVER_RETRY. A log line says when that begins and when it ends.
 *
 * An answer that lacks an address does not say that it is gone: see address_book.h. */
#ifndef KAPROXY_RESOLVER_H
#define KAPROXY_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/metric.h"
#include "base/util.h"
#include "net/address.h"
#include "net/loop.h"

#define RESOLVER_TTL_MIN   (1 * USEC_PER_SEC)
#define RESOLVER_TTL_MAX   (3600 * USEC_PER_SEC)
#define RESOLVER_STALE_MAX (3600 * USEC_PER_SEC)
#define RESOLVER_WAIT_MAX  (2 * USEC_PER_SEC)
#define RESOLVER_RETRY     (5 * USEC_PER_SEC)
#define RESOLVER_DELAY     (50 * USEC_PER_MSEC) /* RFC 8305 section 3: Resolution Delay */

/* When a missing address is asked for: so long after the first answer that lacked it, and then
 * once it can be known to be gone. */
#define RESOLVER_RECHECK (10 * USEC_PER_SEC)

#define RESOLVER_SERVERS_MAX 16

/* So many answers are kept of names that nobody looks up or watches just now. */
#define RESOLVER_UNUSED_MAX 256

/* What is counted of lookups: a metric block. */
struct resolver_stats {
    struct counter queries;  /* a name asked for, of both families */
    struct counter failures; /* of these, in all or in one family, or late */
    struct counter timeouts; /* how often a name server did not answer in time, and was asked again
                                or given up */
    struct gauge failing;    /* names whose lookup fails at present, and that have an old answer */
};
extern const struct metric_set resolver_metrics;

struct resolver;
struct query;
struct name;

/* One asker's lookup, embedded in the asker, who sets `done` and leaves the rest zero. */
struct lookup {
    void (*done)(struct lookup *lookup, const union address *addresses, size_t count,
                 const char *error);
    bool both_families; /* set by an asker that waits until both are known */
    bool partial;       /* set before done is called: a family of which nothing is known is still
                           awaited */
    TAILQ_ENTRY(lookup) link; /* the resolver's, as what follows */
    struct name *name;
    uint64_t serial;
};

/* Somebody's interest in what a name stands for, embedded in its owner, who sets `changed` and
 * leaves the rest zero. changed is called when an answer brought other addresses than the one
 * before, that one is missing or gone, or that a missing one could not be asked for; it must not
 * watch, unwatch or look up from inside. */
struct name_watch {
    void (*changed)(struct name_watch *watch);
    TAILQ_ENTRY(name_watch) link; /* the resolver's, as what follows */
    struct name *name;
    bool keeps_fresh;
};

/* What answers queries. start begins one, whose name stays until it is answered, and calls the
 * functions at the end of this file, later, never from inside start; 0, or -1 with errno and no
 * answer comes. stop is called when the resolver is freed, or has another back end: unanswered
 * queries are then dropped (the back end must not answer them any more, nor from inside stop).
 * servers, or NULL, tells whom it asks, "" if nobody. */
struct resolver_backend {
    int (*start)(struct resolver_backend *backend, struct query *query, const char *name);
    void (*stop)(struct resolver_backend *backend);
    const char *(*servers)(struct resolver_backend *backend);
};

/* The resolver owns the back end from here on: resolver_free calls its stop. NULL with errno (the
 * back end is then still the caller's). */
struct resolver *resolver_new(struct loop *loop, struct resolver_backend *backend);

/* Has another back end answer from now on, which the resolver owns like the first one; that one is
 * stopped. What is kept of names stays, and so do the stats; queries under way are asked again, and
 * what failed needs not wait any longer to be asked again. Each lookup is answered once as ever,
 * and not from inside this call; nor is this to be called from inside a callback. */
void resolver_set_backend(struct resolver *resolver, struct resolver_backend *backend);

/* No lookup may be under way and nothing be watched; not from inside a callback. */
void resolver_free(struct resolver *resolver);

/* The system's resolver: the hosts file, then DNS by c-ares. */
struct resolver_ares_options {
    /* DNS servers to ask instead of resolv.conf's, as address_parse_list reads them, at most
     * RESOLVER_SERVERS_MAX. NULL or "": those of resolv.conf. */
    const char *servers;
    const char *resolv_conf;   /* NULL: the system's. It is read again when it has changed. */
    bool hosts_by_environment; /* for tests: CARES_HOSTS has the name of the hosts file */
};

/* The options are copied. NULL with errno; EINVAL: servers cannot be read. c-ares' library is begun
 * here and ended when the back end is stopped, which several threads must not do at one time. */
struct resolver_backend *resolver_ares_new(struct loop *loop,
                                           const struct resolver_ares_options *options);

/* Starts a lookup. `done` is called once, never from inside this call, unless cancelled: with
 * addresses (in the order to try: the family that RFC 6724 prefers comes first; valid only during
 * the call), or count 0 and error, a text for people ("Host has no address." where the name exists
 * but has none, POOL 23). 0, or -1 with errno, and done is not called. */
MUST_CHECK int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *name);

/* Takes a lookup back; one that is not under way is left alone. Its query goes on, for the others
 * or for a lookup still to come. */
void resolver_cancel(struct resolver *resolver, struct lookup *lookup);

/* The DNS servers that are asked, for messages: their addresses and ports, or "". Valid until the
 * next lookup. */
const char *resolver_servers(const struct resolver *resolver);

/* Any thread may read it as long as the resolver lives. */
const struct resolver_stats *resolver_stats(const struct resolver *resolver);

static inline bool lookup_is_under_way(const struct lookup *lookup)
{
    return lookup->name != NULL;
}

/* Watches a name, without asking for it. 0, or -1 with ENOMEM. */
MUST_CHECK int resolver_watch(struct resolver *resolver, struct name_watch *watch,
                              const char *name);
void resolver_unwatch(struct name_watch *watch);

/* Asks for a watched name in the background when the answer kept for it is over; cheap when not.
 * With no answer kept there is nothing to refresh. */
void resolver_refresh(struct name_watch *watch);

/* Whether this is done each time the answer is over, as long as anybody wants so. */
void resolver_keep_fresh(struct name_watch *watch, bool keep);

/* What the answers so far say of an address (its port does not count). Without any, or where they
 * are not kept, it is CURRENT. */
enum address_state { ADDRESS_CURRENT, ADDRESS_MISSING, ADDRESS_GONE };
enum address_state resolver_find_address(const struct name_watch *watch,
                                         const union address *address);

/* For whoever uses an address that is missing: the name is asked for RESOLVER_RECHECK after the
 * answer that lacked it first, whatever the TTL. To be called again each time that `changed` is
 * called, as long as it is missing and in use. */
void resolver_recheck(struct name_watch *watch, const union address *address);

/* For back ends: the answer to a query, which is gone afterwards, and which is not kept. error NULL
 * with count 0 means "no address"; with an error, a text that stays as long as the query, the
 * addresses do not count. */
void resolver_query_answer(struct query *query, const union address *addresses, size_t count,
                           const char *error);

/* The same for addresses that may be kept for ttl. */
void resolver_query_answer_kept(struct query *query, const union address *addresses, size_t count,
                                usec_t ttl);

/* Or each family by itself, in any order. The query is gone once both were answered. count 0: the
 * name has no address of this family. A ttl does not count then. */
void resolver_query_answer_family(struct query *query, sa_family_t family,
                                  const union address *addresses, size_t count, usec_t ttl);
void resolver_query_fail_family(struct query *query, sa_family_t family, const char *error);

/* Before an answer: so often no name server answered in time. */
void resolver_query_note_timeouts(struct query *query, unsigned timeouts);

#endif
