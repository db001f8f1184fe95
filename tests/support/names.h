/* SPDX-License-Identifier: ISC */
/* A resolver back end for tests: names with scripted answers, delays and a count of queries. */
#ifndef KAPROXY_NAMES_H
#define KAPROXY_NAMES_H

#include "net/loop.h"
#include "net/resolver.h"

struct names;

/* Never answers. */
#define NAMES_NEVER INT64_MAX

/* Owned by the resolver that names_backend is given to; resolver_free frees it. */
struct names *names_new(struct loop *loop);
struct resolver_backend *names_backend(struct names *names);

/* The answer to a name's next queries: addresses (separated by commas; NULL or "": none), or the
 * error if it is not NULL, after a delay. A name without a script is unknown. */
void names_set(struct names *names, const char *name, const char *addresses, const char *error,
               usec_t delay);

/* The TTL of a name's next answers; 0, as without this: they are not to be kept. */
void names_set_ttl(struct names *names, const char *name, usec_t ttl);

/* The lookup of this family's addresses fails from now on; 0: of none. The other family's TTL
 * counts. */
void names_lose_family(struct names *names, const char *name, sa_family_t family);

/* How many queries there were for this name. */
unsigned names_count(const struct names *names, const char *name);

#endif
