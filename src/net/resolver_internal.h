/* SPDX-License-Identifier: ISC */
/* What the resolver's files share; for them alone.
 *
 *   resolver.c         names, who looks them up, who watches them, when they are asked for
 *   resolver_answer.c  what their queries come to, and what of it may be given out */
#ifndef KAPROXY_RESOLVER_INTERNAL_H
#define KAPROXY_RESOLVER_INTERNAL_H

#include "net/address_book.h"
#include "net/resolver.h"

/* What back ends know of a name. */
struct query {
    struct name *name;
};

/* What a query has come to in one family. */
enum part {
    PART_AWAITED,
    PART_EMPTY, /* no addresses: to be believed once the other family has some */
    PART_FAILED,
    PART_CAME, /* and is taken up */
};

struct family {
    sa_family_t family;
    enum part part;     /* of the query that is under way, or was the last */
    const char *error;  /* PART_FAILED */
    size_t count;       /* addresses in its last good answer, which are in the book */
    usec_t fresh_until; /* that answer's time */
    bool waived;        /* it failed, or is late: nobody waits for it until it has come again */
};

#define FAMILIES 2

TAILQ_HEAD(lookup_list, lookup);

/* A name that somebody looks up or watches, that is being asked for, or whose answer is kept. */
struct name {
    struct resolver *resolver;
    const char *text;
    struct query query;
    bool asked;                 /* the back end has the query */
    bool telling;               /* askers are being called back */
    bool unused;                /* in resolver->unused */
    unsigned failing;           /* the families, in bits, of which the log knows that they fail */
    struct lookup_list lookups; /* by serial */
    struct lookup_list both_families; /* those who want to know both families */
    TAILQ_HEAD(, name_watch) watches;
    unsigned keepers; /* watches that keep it fresh */
    struct family families[FAMILIES];
    bool in6_first;
    struct address_book book;
    usec_t retry_at;          /* after a failure: not to be renewed before */
    usec_t recheck_at;        /* an address in use is missing: to be asked for then; 0: no */
    struct task serve_task;   /* posted: there is an answer for the lookups */
    struct task refused_task; /* posted: another back end has not taken the query */
    int refused_with;         /* errno of that */
    struct timer wait_limit;  /* set: the lookups wait, but have an old answer to fall back to */
    struct timer delay;       /* set: one family has come, and the other one is waited for */
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
    struct name_list unused; /* with an answer that is kept for nobody; longest unused first */
    unsigned unused_count;
    uint64_t serial; /* of the last lookup */
    struct resolver_stats stats;
};

/* resolver.c */

enum askers { ASKERS_MOST, ASKERS_ALL }; /* most: not those who want to know both families */

/* Calls back those who wait now; those who ask from inside a callback are to get an answer of their
 * own. The name may be gone afterwards. */
void resolver_name_tell(struct name *name, enum askers askers, const union address *addresses,
                        size_t count, const char *error);
void resolver_name_tell_watches(struct name *name);
void resolver_name_schedule_renewal(struct name *name);

/* resolver_answer.c */

void resolver_answer_init(struct name *name);

/* A query begins. */
void resolver_answer_await(struct name *name);

/* Both families are as good as their TTLs say. */
bool resolver_answer_is_fresh(const struct name *name);

/* It may be given out, even if its time is over. */
bool resolver_answer_exists(const struct name *name);

/* There was one that is kept, however old. */
bool resolver_answer_was_given(const struct name *name);

/* A family is awaited of which nothing is known. */
bool resolver_answer_is_partial(const struct name *name);

/* It is to be given out: nobody has to wait for anything more. */
bool resolver_answer_is_ready(const struct name *name);

/* It should be asked for again, now. Without one that exists that is always so. */
bool resolver_answer_is_due(const struct name *name);

/* When it should be, for callers that are in no hurry. */
usec_t resolver_answer_due_at(const struct name *name);

/* Notes that a query came to nothing, or takes too long: from now on the old answer serves, and
 * nobody waits for a new one. */
void resolver_answer_note_failure(struct name *name, const char *error);

/* Gives the answer that there is to those who wait. */
void resolver_answer_tell(struct name *name, enum askers askers);

void resolver_answer_on_delay(struct timer *timer);

#endif
