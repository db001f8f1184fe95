/* Names to addresses, on the loop. Look-ups of one name that run at the same time share one
 * query; one that is cancelled is not lost to the others (POOL.md 22). */
#ifndef KAPROXY_RESOLVER_H
#define KAPROXY_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "loop.h"
#include "util.h"

struct resolver;
struct query;

/* An address without a port. */
union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* One asker's look-up, embedded in the asker, who sets `done` and leaves the rest zero. */
struct lookup {
    void (*done)(struct lookup *lookup, const union address *addresses, size_t count,
                 const char *error);
    TAILQ_ENTRY(lookup) link; /* the resolver's, as what follows */
    struct query *query;
};

/* What answers queries. start begins one and calls query_answer exactly once, later, never from
 * inside start; 0, or -1 with errno and no answer comes. stop is called when the resolver is freed:
 * unanswered queries are then dropped (the back end must not answer them any more). */
struct resolver_backend {
    int (*start)(struct resolver_backend *backend, struct query *query, const char *name);
    void (*stop)(struct resolver_backend *backend);
};

/* The resolver owns the back end from here on: resolver_free calls its stop. NULL with errno (the
 * back end is then still the caller's). */
struct resolver *resolver_new(struct loop *loop, struct resolver_backend *backend);
void resolver_free(struct resolver *resolver); /* no look-up may be under way */

/* The system's resolver: c-ares with resolv.conf and /etc/hosts, both address families, ordered by
 * RFC 6724. NULL with errno. */
struct resolver_backend *resolver_ares_new(struct loop *loop);

/* Asks these servers instead of resolv.conf's: ADDR[:PORT], separated by commas. Before the first
 * look-up. 0, or -1 with errno. */
MUST_CHECK int resolver_ares_set_servers(struct resolver_backend *backend, const char *servers);

/* Starts a look-up. `done` is called once, never from inside this call, unless cancelled: with
 * addresses (in the order to try; valid only during the call), or count 0 and error, a text for
 * people ("Host has no address." where the name exists but has none, POOL.md 23). 0, or -1 with
 * errno, and done is not called. A look-up in the past has no effect on one started later:
 * nothing is cached here. */
MUST_CHECK int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *name);

/* Takes a look-up back; one that is not under way is left alone. Its query goes on, for the others
 * or for a look-up still to come. */
void resolver_cancel(struct resolver *resolver, struct lookup *lookup);

/* For back ends: the answer to a query, which is gone afterwards. error NULL with count 0 means "no
 * address"; with an error the addresses do not count. */
void query_answer(struct query *query, const union address *addresses, size_t count,
                  const char *error);

/* Reads a numeric IPv4 or IPv6 address (with a scope, fe80::1%eth0); false for a name. */
bool address_parse(union address *address, const char *text);
socklen_t address_length(const union address *address);

#endif
