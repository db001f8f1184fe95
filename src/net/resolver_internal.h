/* SPDX-License-Identifier: ISC */
/* Shared by the resolver's files; for them only.
 *
 *   resolver.c         names, who looks them up, who watches them, when they are queried
 *   resolver_answer.c  the results of their queries, and which of them may be handed out */
#ifndef KAPROXY_RESOLVER_INTERNAL_H
#define KAPROXY_RESOLVER_INTERNAL_H

#include "net/address_book.h"
#include "net/resolver.h"

/* A name as back ends see it. */
struct query {
    struct name *name;
};

/* The outcome of a query in one family. */
enum part {
    PART_AWAITED,
    PART_EMPTY, /* no addresses: trusted once the other family has some */
    PART_FAILED,
    PART_CAME, /* and is stored */
};

struct family {
    sa_family_t family;
    enum part part;     /* of the query under way, or of the last one */
    const char *error;  /* PART_FAILED */
    size_t count;       /* addresses in its last good answer, which are in the book */
    usec_t fresh_until; /* expiry of that answer */
    bool waived;        /* it failed or is late: not waited for until it is answered again */
};

#define FAMILIES 2

TAILQ_HEAD(lookup_list, lookup);

/* A name that is looked up or watched, that is being queried, or whose answer is kept. */
struct name {
    struct resolver *resolver;
    const char *text;
    struct query query;
    bool asked;                       /* the back end has the query */
    bool telling;                     /* callbacks are running */
    bool unused;                      /* in resolver->unused */
    unsigned failing;                 /* bits: families whose failure was logged */
    struct lookup_list lookups;       /* by serial */
    struct lookup_list both_families; /* those that need both families */
    TAILQ_HEAD(, name_watch) watches;
    unsigned keepers; /* watches that keep it fresh */
    struct family families[FAMILIES];
    bool in6_first;
    struct address_book book;
    usec_t retry_at;          /* after a failure: not to be renewed before */
    usec_t recheck_at;        /* an address in use is missing: query again at this time; 0: no */
    struct task serve_task;   /* posted: there is an answer for the lookups */
    struct task refused_task; /* posted: another back end has rejected the query */
    int refused_with;         /* its errno */
    struct timer wait_limit;  /* set: the lookups wait, but can fall back to an old answer */
    struct timer delay;       /* set: one family was answered, the other is waited for */
    struct timer renewal;     /* for the keepers, or to recheck */
    TAILQ_ENTRY(name) names;
    TAILQ_ENTRY(name) unused_link;
    char buffer[];
};

TAILQ_HEAD(name_list, name);

struct resolver {
    struct loop *loop;
    struct resolver_backend *backend;
    void *tree; /* tsearch(3): names */
    struct name_list names;
    struct name_list unused; /* with an answer that is kept for later; longest unused first */
    unsigned unused_count;
    uint64_t serial; /* of the last lookup */
    struct resolver_stats stats;
};

/* resolver.c */

enum askers { ASKERS_MOST, ASKERS_ALL }; /* most: not those that need both families */

/* Calls back the lookups that wait now; lookups started from within a callback get an answer of
 * their own. The name may be freed afterwards. */
void resolver_name_tell(struct name *name, enum askers askers, const union address *addresses,
                        size_t count, const char *error);
void resolver_name_tell_watches(struct name *name);
void resolver_name_schedule_renewal(struct name *name);

/* resolver_answer.c */

void resolver_answer_init(struct name *name);

/* A query begins. */
void resolver_answer_await(struct name *name);

/* Both families are within their TTLs. */
bool resolver_answer_is_fresh(const struct name *name);

/* It may be handed out, even if it has expired. */
bool resolver_answer_exists(const struct name *name);

/* There was an answer that is kept, however old. */
bool resolver_answer_was_given(const struct name *name);

/* A family is awaited of which nothing is known. */
bool resolver_answer_is_partial(const struct name *name);

/* It can be handed out: there is nothing more to wait for. */
bool resolver_answer_is_ready(const struct name *name);

/* It should be queried again, now. Always true if no answer exists. */
bool resolver_answer_is_due(const struct name *name);

/* When it should be, for callers that are not in a hurry. */
usec_t resolver_answer_due_at(const struct name *name);

/* Records that a query failed, or takes too long: from now on the old answer is used, and lookups
 * do not wait for a new one. */
void resolver_answer_note_failure(struct name *name, const char *error);

/* Gives the existing answer to the waiting lookups. */
void resolver_answer_tell(struct name *name, enum askers askers);

void resolver_answer_on_delay(struct timer *timer);

#endif
