/* SPDX-License-Identifier: ISC */
/* Resolves names to addresses, on the loop. Simultaneous lookups of one name share a query;
 * cancelling one does not affect the others (POOL 22).
 *
 * A query asks for both families, each of which is answered, or fails, separately. Once one has
 * been answered with addresses, the other is waited for no longer than RESOLVER_DELAY (RFC 8305
 * section 3); if its answer arrives later, it is for later lookups. A family that has failed, or is
 * late, keeps its last good addresses, and is not waited for until it has been answered again.
 *
 * An answer is kept for its TTL, within RESOLVER_TTL_MIN and _MAX. After that it is queried again.
 * While this fails (in whatever way, including "no such name") or takes longer than
 * RESOLVER_WAIT_MAX, the last good answer is used for up to RESOLVER_STALE_MAX longer (RFC 8767),
 * and the name is queried once per RESOLVER_RETRY. Log lines report the start and the end of this.
 *
 * An answer that lacks an address does not mean that the address is gone: see address_book.h. */
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

/* When a missing address is queried again: this long after the first answer that lacked it, and
 * then as soon as it can be known to be gone. */
#define RESOLVER_RECHECK (10 * USEC_PER_SEC)

#define RESOLVER_SERVERS_MAX 16

/* How many answers are kept for names that are currently neither looked up nor watched. */
#define RESOLVER_UNUSED_MAX 256

/* What is counted of lookups: a metric block. */
struct resolver_stats {
    struct counter queries;  /* queries for a name, both families as one */
    struct counter failures; /* of these, in one family or both, or late */
    struct counter timeouts; /* how often a name server did not answer in time, and was asked again
                                or given up */
    struct gauge failing;    /* names whose lookup currently fails, and that have an old answer */
};
extern const struct metric_set resolver_metrics;

struct resolver;
struct query;
struct name;

/* One caller's lookup, embedded in the caller, which sets `done` and leaves the rest zero. */
struct lookup {
    void (*done)(struct lookup *lookup, const union address *addresses, size_t count,
                 const char *error);
    bool both_families; /* set by a caller that waits until both are known */
    bool partial; /* set before done is called: a family is still awaited of which nothing is known
                   */
    TAILQ_ENTRY(lookup) link; /* the resolver's, like the following */
    struct name *name;
    uint64_t serial;
};

/* An owner's interest in a name's addresses, embedded in the owner, which sets `changed` and leaves
 * the rest zero. changed is called when an answer has other addresses than the previous one, when
 * an address is missing or gone, or when a query for a missing one failed; it must not watch,
 * unwatch or look up from inside. */
struct name_watch {
    void (*changed)(struct name_watch *watch);
    TAILQ_ENTRY(name_watch) link; /* the resolver's, like the following */
    struct name *name;
    bool keeps_fresh;
};

/* Answers queries. start begins one, whose name remains valid until it is answered, and calls the
 * functions at the end of this file, later, never from within start; 0, or -1 with errno, and no
 * answer follows. stop is called when the resolver is freed, or switches to another back end:
 * unanswered queries are then dropped (the back end must not answer them any more, not even from
 * within stop). servers, or NULL, returns the servers that it asks, "" for none. */
struct resolver_backend {
    int (*start)(struct resolver_backend *backend, struct query *query, const char *name);
    void (*stop)(struct resolver_backend *backend);
    const char *(*servers)(struct resolver_backend *backend);
};

/* The resolver owns the back end from here on: resolver_free calls its stop. NULL with errno (the
 * caller then still owns the back end). */
struct resolver *resolver_new(struct loop *loop, struct resolver_backend *backend);

/* Switches to another back end, which the resolver owns like the first one; that one is stopped.
 * Kept answers remain, and so do the stats; queries under way are repeated, and failed ones may be
 * repeated without further delay. As usual, each lookup is answered once, and not from within this
 * call; nor may this be called from within a callback. */
void resolver_set_backend(struct resolver *resolver, struct resolver_backend *backend);

/* No lookup may be under way and nothing watched; not from within a callback. */
void resolver_free(struct resolver *resolver);

/* The system's resolver: the hosts file, then DNS by c-ares. */
struct resolver_ares_options {
    /* DNS servers to use instead of resolv.conf's, in address_parse_list's format, at most
     * RESOLVER_SERVERS_MAX. NULL or "": those of resolv.conf. */
    const char *servers;
    const char *resolv_conf;   /* NULL: the system's. It is reread after a change. */
    bool hosts_by_environment; /* for tests: CARES_HOSTS names the hosts file */
};

/* The options are copied. NULL with errno; EINVAL: servers cannot be parsed. Initializes c-ares'
 * library, which is cleaned up when the back end is stopped; threads must not do either at the same
 * time. */
struct resolver_backend *resolver_ares_new(struct loop *loop,
                                           const struct resolver_ares_options *options);

/* Starts a lookup. `done` is called once, never from within this call, unless cancelled: with
 * addresses (in the order to try: the family that RFC 6724 prefers first; valid only during the
 * call), or with count 0 and error, a text for people ("Host has no address." if the name exists
 * but has none, POOL 23). 0, or -1 with errno, and done is not called. */
MUST_CHECK int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *name);

/* Cancels a lookup; does nothing if it is not under way. Its query continues, for other lookups or
 * a later one. */
void resolver_cancel(struct resolver *resolver, struct lookup *lookup);

/* The DNS servers in use, for messages: their addresses and ports, or "". Valid until the next
 * lookup. */
const char *resolver_servers(const struct resolver *resolver);

/* Any thread may read it while the resolver exists. */
const struct resolver_stats *resolver_stats(const struct resolver *resolver);

static inline bool lookup_is_under_way(const struct lookup *lookup)
{
    return lookup->name != NULL;
}

/* Watches a name, without querying it. 0, or -1 with ENOMEM. */
MUST_CHECK int resolver_watch(struct resolver *resolver, struct name_watch *watch,
                              const char *name);
void resolver_unwatch(struct name_watch *watch);

/* Queries a watched name in the background if its kept answer has expired; cheap if not. Without a
 * kept answer there is nothing to refresh. */
void resolver_refresh(struct name_watch *watch);

/* Whether this is done whenever the answer expires, as long as any watch requests it. */
void resolver_keep_fresh(struct name_watch *watch, bool keep);

/* What the answers so far say about an address (ignoring its port). Without answers, or if they are
 * not kept, it is CURRENT. */
enum address_state { ADDRESS_CURRENT, ADDRESS_MISSING, ADDRESS_GONE };
enum address_state resolver_find_address(const struct name_watch *watch,
                                         const union address *address);

/* For a user of an address that is missing: the name is queried RESOLVER_RECHECK after the first
 * answer that lacked it, whatever the TTL. To be called after each call of `changed`, as long as
 * the address is missing and in use. */
void resolver_recheck(struct name_watch *watch, const union address *address);

/* For back ends: the answer to a query, which is not kept; the query no longer exists afterwards.
 * error NULL with count 0 means "no address"; with an error, a text valid as long as the query, the
 * addresses are ignored. */
void resolver_query_answer(struct query *query, const union address *addresses, size_t count,
                           const char *error);

/* The same for addresses that may be kept for ttl. */
void resolver_query_answer_kept(struct query *query, const union address *addresses, size_t count,
                                usec_t ttl);

/* Or each family separately, in any order. The query no longer exists once both were answered.
 * count 0: the name has no address of this family; the ttl is then ignored. */
void resolver_query_answer_family(struct query *query, sa_family_t family,
                                  const union address *addresses, size_t count, usec_t ttl);
void resolver_query_fail_family(struct query *query, sa_family_t family, const char *error);

/* Before an answer: how often no name server answered in time. */
void resolver_query_note_timeouts(struct query *query, unsigned timeouts);

#endif
