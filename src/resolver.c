#include "resolver.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* What back ends know of a name. */
struct query {
    struct name *name;
};

/* A name that somebody looks up or watches, that is being asked for, or whose answer is kept. */
struct name {
    struct resolver *resolver;
    const char *text;
    struct query query;
    bool asked;                   /* the back end has the query */
    bool telling;                 /* askers are being called back */
    bool failing;                 /* there is an answer, but the last attempt to renew it failed */
    bool unused;                  /* in resolver->unused */
    TAILQ_HEAD(, lookup) lookups; /* by serial */
    TAILQ_HEAD(, name_watch) watches;
    unsigned keepers;         /* watches that keep it fresh */
    union address *addresses; /* the last good answer, in the order to try */
    union address *sorted;    /* the same by address_compare, in the same allocation */
    size_t count;             /* 0: none */
    usec_t fresh_until;       /* its time */
    usec_t retry_at;          /* after a failure: not to be renewed before */
    struct task serve_task;   /* posted: there is an answer for the look-ups */
    struct timer patience;    /* set: the look-ups wait, but have an old answer to fall back to */
    struct timer renewal;     /* for the keepers */
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
    uint64_t serial; /* of the last look-up */
};

static int compare_names(const void *a, const void *b)
{
    const struct name *left = a, *right = b;
    return strcmp(left->text, right->text);
}

static int compare_addresses(const void *a, const void *b)
{
    return address_compare(a, b);
}

struct resolver *resolver_new(struct loop *loop, struct resolver_backend *backend)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));
    if (resolver == NULL)
        return NULL;
    resolver->loop = loop;
    resolver->backend = backend;
    TAILQ_INIT(&resolver->names);
    TAILQ_INIT(&resolver->unused);
    return resolver;
}

static void name_use(struct name *name)
{
    if (!name->unused)
        return;
    TAILQ_REMOVE(&name->resolver->unused, name, unused_link);
    name->resolver->unused_count--;
    name->unused = false;
}

static void name_free(struct name *name)
{
    struct resolver *resolver = name->resolver;
    name_use(name);
    loop_unpost(resolver->loop, &name->serve_task);
    timer_clear(resolver->loop, &name->patience);
    timer_clear(resolver->loop, &name->renewal);
    tdelete(name, &resolver->tree, compare_names);
    TAILQ_REMOVE(&resolver->names, name, names);
    free(name->addresses);
    free(name);
}

void resolver_free(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->backend->stop(resolver->backend);
    struct name *name;
    while ((name = TAILQ_FIRST(&resolver->names)) != NULL)
        name_free(name);
    free(resolver);
}

/* Frees a name that nothing needs any more, or puts it aside with its answer. To be called, last of
 * all, by whatever takes away a reason to have it. */
static void name_settle(struct name *name)
{
    struct resolver *resolver = name->resolver;
    if (name->asked || name->telling || name->unused || !TAILQ_EMPTY(&name->lookups) ||
        !TAILQ_EMPTY(&name->watches))
        return;
    if (name->count == 0) {
        name_free(name);
        return;
    }
    TAILQ_INSERT_TAIL(&resolver->unused, name, unused_link);
    name->unused = true;
    if (++resolver->unused_count > RESOLVER_UNUSED_MAX)
        name_free(TAILQ_FIRST(&resolver->unused));
}

static bool is_fresh(const struct name *name)
{
    return name->count > 0 && loop_now(name->resolver->loop) < name->fresh_until;
}

/* The answer may be given out, even if its time is over. */
static bool has_answer(const struct name *name)
{
    return name->count > 0 &&
           loop_now(name->resolver->loop) < name->fresh_until + RESOLVER_STALE_MAX;
}

/* Calls back those who wait now; those who ask from inside a callback are to get an answer of their
 * own. */
static void tell(struct name *name, const union address *addresses, size_t count, const char *error)
{
    uint64_t last = name->resolver->serial;
    struct lookup *lookup;
    loop_unpost(name->resolver->loop, &name->serve_task);
    timer_clear(name->resolver->loop, &name->patience);
    name->telling = true;
    while ((lookup = TAILQ_FIRST(&name->lookups)) != NULL && lookup->serial <= last) {
        TAILQ_REMOVE(&name->lookups, lookup, link);
        lookup->name = NULL;
        lookup->done(lookup, addresses, count, error);
    }
    name->telling = false;
    name_settle(name);
}

static void tell_answer(struct name *name)
{
    tell(name, name->addresses, name->count, NULL);
}

static void on_serve(struct task *task)
{
    tell_answer(container_of(task, struct name, serve_task));
}

static void schedule_renewal(struct name *name)
{
    struct loop *loop = name->resolver->loop;
    timer_clear(loop, &name->renewal);
    if (name->keepers == 0 || name->count == 0 || name->asked)
        return;
    usec_t when = name->fresh_until > name->retry_at ? name->fresh_until : name->retry_at;
    if (timer_set(loop, &name->renewal, when) < 0)
        log_error("name=%s no memory for the timer that renews it", name->text);
}

/* The answer could not be renewed: from now on the old one serves, and nobody waits for a new one.
 */
static void note_failure(struct name *name, const char *error)
{
    name->retry_at = loop_now(name->resolver->loop) + RESOLVER_RETRY;
    if (has_answer(name) && !name->failing) {
        name->failing = true;
        log_warning("name=%s look-up failed: error=\"%s\"; its last answer serves for up to 1 h",
                    name->text, error);
    }
    schedule_renewal(name);
}

static void on_patience(struct timer *timer)
{
    struct name *name = container_of(timer, struct name, patience);
    note_failure(name, "no answer in time");
    tell_answer(name);
}

static int ask(struct name *name)
{
    struct resolver_backend *backend = name->resolver->backend;
    if (backend->start(backend, &name->query, name->text) < 0) {
        int number = errno;
        note_failure(name, strerror(number));
        errno = number;
        return -1;
    }
    name->asked = true;
    timer_clear(name->resolver->loop, &name->renewal);
    return 0;
}

/* Asks for an answer whose time is over, unless that is under way, or has just failed. 0 or -1. */
static int renew(struct name *name)
{
    bool paused = has_answer(name) && loop_now(name->resolver->loop) < name->retry_at;
    return name->asked || paused ? 0 : ask(name);
}

static void on_renewal(struct timer *timer)
{
    struct name *name = container_of(timer, struct name, renewal);
    if (is_fresh(name) || renew(name) < 0 || !name->asked)
        schedule_renewal(name);
}

static struct name *name_find(struct resolver *resolver, const char *text)
{
    struct name key = {.text = text};
    struct name **found = tfind(&key, &resolver->tree, compare_names);
    return found == NULL ? NULL : *found;
}

static struct name *name_get(struct resolver *resolver, const char *text)
{
    struct name *name = name_find(resolver, text);
    if (name != NULL) {
        name_use(name);
        return name;
    }
    size_t size = strlen(text) + 1;
    name = calloc(1, sizeof(*name) + size);
    if (name == NULL)
        return NULL;
    memcpy(name->buffer, text, size);
    name->text = name->buffer;
    name->resolver = resolver;
    name->query.name = name;
    name->serve_task.run = on_serve;
    name->patience.fire = on_patience;
    name->renewal.fire = on_renewal;
    TAILQ_INIT(&name->lookups);
    TAILQ_INIT(&name->watches);
    if (tsearch(name, &resolver->tree, compare_names) == NULL) {
        free(name);
        errno = ENOMEM;
        return NULL;
    }
    TAILQ_INSERT_TAIL(&resolver->names, name, names);
    return name;
}

/* Sees to it that an answer will come. 0, or -1 with errno. */
static int prepare(struct name *name)
{
    struct loop *loop = name->resolver->loop;
    bool fresh = is_fresh(name);
    if (!fresh && renew(name) < 0 && !has_answer(name))
        return -1;
    if (fresh || (name->failing && has_answer(name)))
        loop_post(loop, &name->serve_task);
    else if (has_answer(name) && !timer_is_set(&name->patience) &&
             timer_set(loop, &name->patience, loop_now(loop) + RESOLVER_PATIENCE) < 0)
        loop_post(loop, &name->serve_task);
    return 0;
}

int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *text)
{
    struct name *name = name_get(resolver, text);
    if (name == NULL)
        return -1;
    if (prepare(name) < 0) {
        int number = errno;
        name_settle(name);
        errno = number;
        return -1;
    }
    lookup->name = name;
    lookup->serial = ++resolver->serial;
    TAILQ_INSERT_TAIL(&name->lookups, lookup, link);
    return 0;
}

void resolver_cancel(struct resolver *resolver, struct lookup *lookup)
{
    struct name *name = lookup->name;
    if (name == NULL)
        return;
    TAILQ_REMOVE(&name->lookups, lookup, link);
    lookup->name = NULL;
    if (TAILQ_EMPTY(&name->lookups)) {
        timer_clear(resolver->loop, &name->patience);
        loop_unpost(resolver->loop, &name->serve_task);
    }
    name_settle(name);
}

int resolver_watch(struct resolver *resolver, struct name_watch *watch, const char *text)
{
    struct name *name = name_get(resolver, text);
    if (name == NULL)
        return -1;
    watch->name = name;
    TAILQ_INSERT_TAIL(&name->watches, watch, link);
    return 0;
}

void resolver_unwatch(struct name_watch *watch)
{
    struct name *name = watch->name;
    if (name == NULL)
        return;
    resolver_keep_fresh(watch, false);
    TAILQ_REMOVE(&name->watches, watch, link);
    watch->name = NULL;
    name_settle(name);
}

void resolver_refresh(struct name_watch *watch)
{
    struct name *name = watch->name;
    if (name->count > 0 && !is_fresh(name) && renew(name) < 0)
        log_debug("name=%s could not be asked for", name->text);
}

void resolver_keep_fresh(struct name_watch *watch, bool keep)
{
    struct name *name = watch->name;
    if (keep == watch->keeps_fresh)
        return;
    watch->keeps_fresh = keep;
    if (keep)
        name->keepers++;
    else
        name->keepers--;
    schedule_renewal(name);
}

bool resolver_has_address(const struct name_watch *watch, const union address *address)
{
    const struct name *name = watch->name;
    return name->count == 0 ||
           bsearch(address, name->sorted, name->count, sizeof(*address), compare_addresses) != NULL;
}

/* Takes the place of the answer so far. 0, or -1 with ENOMEM and nothing is changed. */
static int keep(struct name *name, const union address *addresses, size_t count, bool *changed)
{
    union address *copy = calloc(2 * count, sizeof(*copy));
    if (copy == NULL)
        return -1;
    union address *sorted = copy + count;
    memcpy(copy, addresses, count * sizeof(*copy));
    memcpy(sorted, addresses, count * sizeof(*copy));
    qsort(sorted, count, sizeof(*sorted), compare_addresses);
    *changed = count != name->count;
    for (size_t i = 0; i < count && !*changed; i++)
        *changed = address_compare(&sorted[i], &name->sorted[i]) != 0;
    free(name->addresses);
    name->addresses = copy;
    name->sorted = sorted;
    name->count = count;
    return 0;
}

static void forget(struct name *name)
{
    free(name->addresses);
    name->addresses = name->sorted = NULL;
    name->count = 0;
    name->failing = false;
}

void query_answer(struct query *query, const union address *addresses, size_t count,
                  const char *error)
{
    struct name *name = query->name;
    name->asked = false;
    if (error == NULL && count > 0) {
        forget(name);
        tell(name, addresses, count, NULL);
        return;
    }
    if (error == NULL)
        error = "Host has no address.";
    note_failure(name, error);
    if (has_answer(name))
        tell_answer(name);
    else
        tell(name, NULL, 0, error);
}

void query_answer_kept(struct query *query, const union address *addresses, size_t count,
                       usec_t ttl)
{
    struct name *name = query->name;
    usec_t now = loop_now(name->resolver->loop);
    bool changed;
    if (count == 0 || keep(name, addresses, count, &changed) < 0) {
        query_answer(query, addresses, count, NULL);
        return;
    }
    name->asked = false;
    if (ttl < RESOLVER_TTL_MIN)
        ttl = RESOLVER_TTL_MIN;
    if (ttl > RESOLVER_TTL_MAX)
        ttl = RESOLVER_TTL_MAX;
    name->fresh_until = now + ttl;
    name->retry_at = 0;
    if (name->failing)
        log_notice("name=%s look-ups work again", name->text);
    name->failing = false;
    schedule_renewal(name);
    struct name_watch *watch;
    if (changed) {
        TAILQ_FOREACH (watch, &name->watches, link)
            watch->changed(watch);
    }
    tell_answer(name);
}
