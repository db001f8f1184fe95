#include "resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* One question to the back end, and all who wait for its answer. */
struct query {
    struct resolver *resolver;
    TAILQ_HEAD(, lookup) lookups;
    const char *name;
    char name_buffer[];
};

struct resolver {
    struct resolver_backend *backend;
    void *queries; /* tsearch tree by name: those that can be joined */
};

static int compare_queries(const void *a, const void *b)
{
    const struct query *left = a, *right = b;
    return strcmp(left->name, right->name);
}

struct resolver *resolver_new(struct loop *loop, struct resolver_backend *backend)
{
    (void)loop;
    struct resolver *resolver = calloc(1, sizeof(*resolver));
    if (resolver == NULL)
        return NULL;
    resolver->backend = backend;
    return resolver;
}

void resolver_free(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->backend->stop(resolver->backend);
    tdestroy(resolver->queries, free);
    free(resolver);
}

static struct query *query_find(struct resolver *resolver, const char *name)
{
    struct query key = {.name = name};
    struct query **found = tfind(&key, &resolver->queries, compare_queries);
    return found == NULL ? NULL : *found;
}

/* Forgets a query, so that no look-up joins it any more. */
static void query_unlist(struct query *query)
{
    tdelete(query, &query->resolver->queries, compare_queries);
}

static struct query *query_start(struct resolver *resolver, const char *name)
{
    size_t size = strlen(name) + 1;
    struct query *query = malloc(sizeof(*query) + size);
    if (query == NULL)
        return NULL;
    query->resolver = resolver;
    TAILQ_INIT(&query->lookups);
    memcpy(query->name_buffer, name, size);
    query->name = query->name_buffer;
    if (tsearch(query, &resolver->queries, compare_queries) == NULL) {
        errno = ENOMEM;
        goto err_query;
    }
    if (resolver->backend->start(resolver->backend, query, query->name) < 0)
        goto err_listed;
    return query;

err_listed:
    query_unlist(query);
err_query:
    free(query);
    return NULL;
}

int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *name)
{
    struct query *query = query_find(resolver, name);
    if (query == NULL)
        query = query_start(resolver, name);
    if (query == NULL)
        return -1;
    lookup->query = query;
    TAILQ_INSERT_TAIL(&query->lookups, lookup, link);
    return 0;
}

void resolver_cancel(struct resolver *resolver, struct lookup *lookup)
{
    (void)resolver;
    if (lookup->query == NULL)
        return;
    TAILQ_REMOVE(&lookup->query->lookups, lookup, link);
    lookup->query = NULL;
}

void query_answer(struct query *query, const union address *addresses, size_t count,
                  const char *error)
{
    if (error != NULL)
        count = 0;
    else if (count == 0)
        error = "Host has no address.";
    /* First: who asks from inside a callback is to get an answer of his own. */
    query_unlist(query);
    struct lookup *lookup;
    while ((lookup = TAILQ_FIRST(&query->lookups)) != NULL) {
        TAILQ_REMOVE(&query->lookups, lookup, link);
        lookup->query = NULL;
        lookup->done(lookup, count == 0 ? NULL : addresses, count, error);
    }
    free(query);
}

/* An interface's name or number (RFC 4007 section 11.2); 0 for neither. */
static unsigned scope_parse(const char *text)
{
    unsigned scope = if_nametoindex(text);
    if (scope != 0 || *text < '0' || *text > '9')
        return scope;
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && number <= UINT32_MAX ? (unsigned)number : 0;
}

static bool address_parse_in6(struct sockaddr_in6 *in6, const char *text)
{
    char bare[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    if (length >= sizeof(bare))
        return false;
    memcpy(bare, text, length);
    bare[length] = '\0';
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (inet_pton(AF_INET6, bare, &in6->sin6_addr) != 1)
        return false;
    if (text[length] == '\0')
        return true;
    in6->sin6_scope_id = scope_parse(text + length + 1);
    return in6->sin6_scope_id != 0;
}

bool address_parse(union address *address, const char *text)
{
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, text, &address->in.sin_addr) == 1) {
        address->in.sin_family = AF_INET;
        return true;
    }
    return address_parse_in6(&address->in6, text);
}

socklen_t address_length(const union address *address)
{
    return address->sa.sa_family == AF_INET6 ? sizeof(address->in6) : sizeof(address->in);
}
