/* SPDX-License-Identifier: ISC */
/* Names: who looks them up or watches them, when they are queried and forgotten. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/resolver_internal.h"

static int compare_names(const void *a, const void *b)
{
    const struct name *left = a, *right = b;
    return strcmp(left->text, right->text);
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
    loop_unpost(resolver->loop, &name->refused_task);
    loop_clear_timer(resolver->loop, &name->wait_limit);
    loop_clear_timer(resolver->loop, &name->delay);
    loop_clear_timer(resolver->loop, &name->renewal);
    tdelete(name, &resolver->tree, compare_names);
    TAILQ_REMOVE(&resolver->names, name, names);
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

const char *resolver_servers(const struct resolver *resolver)
{
    struct resolver_backend *backend = resolver->backend;
    return backend->servers != NULL ? backend->servers(backend) : "";
}

static bool is_looked_up(const struct name *name)
{
    return !TAILQ_EMPTY(&name->lookups) || !TAILQ_EMPTY(&name->both_families);
}

/* Frees a name that is no longer needed, or sets it aside with its answer. To be called, last of
 * all, by any code that removes a reason to keep it. */
static void name_settle(struct name *name)
{
    struct resolver *resolver = name->resolver;
    if (name->asked || name->telling || name->unused || is_looked_up(name) ||
        !TAILQ_EMPTY(&name->watches))
        return;
    if (!resolver_answer_exists(name)) {
        name_free(name);
        return;
    }
    TAILQ_INSERT_TAIL(&resolver->unused, name, unused_link);
    name->unused = true;
    if (++resolver->unused_count > RESOLVER_UNUSED_MAX)
        name_free(TAILQ_FIRST(&resolver->unused));
}

static struct lookup_list *list_of(struct name *name, const struct lookup *lookup)
{
    return lookup->both_families ? &name->both_families : &name->lookups;
}

void resolver_name_tell(struct name *name, enum askers askers, const union address *addresses,
                        size_t count, const char *error)
{
    uint64_t last = name->resolver->serial;
    bool partial = resolver_answer_is_partial(name);
    struct lookup *lookup;
    loop_unpost(name->resolver->loop, &name->serve_task);
    loop_clear_timer(name->resolver->loop, &name->wait_limit);
    name->telling = true;
    for (int i = 0; i <= (askers == ASKERS_ALL); i++) {
        struct lookup_list *list = i == 0 ? &name->lookups : &name->both_families;
        while ((lookup = TAILQ_FIRST(list)) != NULL && lookup->serial <= last) {
            TAILQ_REMOVE(list, lookup, link);
            lookup->name = NULL;
            lookup->partial = partial;
            lookup->done(lookup, addresses, count, error);
        }
    }
    name->telling = false;
    name_settle(name);
}

void resolver_name_tell_watches(struct name *name)
{
    struct name_watch *watch;
    TAILQ_FOREACH (watch, &name->watches, link)
        watch->changed(watch);
}

static void on_serve(struct task *task)
{
    struct name *name = container_of(task, struct name, serve_task);
    resolver_answer_tell(name, name->asked ? ASKERS_MOST : ASKERS_ALL);
}

void resolver_name_schedule_renewal(struct name *name)
{
    struct loop *loop = name->resolver->loop;
    usec_t when = name->recheck_at;
    loop_clear_timer(loop, &name->renewal);
    if (name->asked)
        return;
    if (name->keepers > 0 && resolver_answer_was_given(name) &&
        (when == 0 || resolver_answer_due_at(name) < when))
        when = resolver_answer_due_at(name);
    if (when != 0 && loop_set_timer(loop, &name->renewal, when) < 0)
        log_error("name=%s no memory for the timer that renews it", name->text);
}

static void on_wait_limit(struct timer *timer)
{
    struct name *name = container_of(timer, struct name, wait_limit);
    resolver_answer_note_failure(name, "no answer in time");
    resolver_answer_tell(name, ASKERS_MOST);
}

static int ask(struct name *name)
{
    struct resolver_backend *backend = name->resolver->backend;
    name->recheck_at = 0;
    counter_add(&name->resolver->stats.queries, 1);
    if (backend->start(backend, &name->query, name->text) < 0) {
        int number = errno;
        resolver_answer_note_failure(name, strerror(number));
        errno = number;
        return -1;
    }
    name->asked = true;
    resolver_answer_await(name);
    loop_clear_timer(name->resolver->loop, &name->renewal);
    return 0;
}

/* Queries again if the answer has expired, unless a query is under way or has just failed. 0 or
 * -1. */
static int renew(struct name *name)
{
    return resolver_answer_is_due(name) ? ask(name) : 0;
}

static void on_renewal(struct timer *timer)
{
    struct name *name = container_of(timer, struct name, renewal);
    bool recheck = name->recheck_at != 0 && loop_now(name->resolver->loop) >= name->recheck_at;
    if ((recheck ? ask(name) : renew(name)) < 0)
        resolver_name_tell_watches(name); /* an address may still be missing */
    resolver_name_schedule_renewal(name);
}

static void on_refused(struct task *task)
{
    struct name *name = container_of(task, struct name, refused_task);
    resolver_query_answer(&name->query, NULL, 0, strerror(name->refused_with));
}

/* The back end that had the query is gone. Any part of the answer that it delivered stays. */
static void ask_again(struct name *name)
{
    struct resolver *resolver = name->resolver;
    loop_unpost(resolver->loop, &name->refused_task);
    counter_add(&resolver->stats.queries, 1);
    resolver_answer_await(name);
    if (resolver->backend->start(resolver->backend, &name->query, name->text) == 0)
        return;
    name->refused_with = errno;
    loop_post(resolver->loop, &name->refused_task);
}

void resolver_set_backend(struct resolver *resolver, struct resolver_backend *backend)
{
    usec_t now = loop_now(resolver->loop);
    struct name *name;
    resolver->backend->stop(resolver->backend);
    resolver->backend = backend;
    TAILQ_FOREACH (name, &resolver->names, names) {
        if (name->asked) {
            ask_again(name);
        } else if (name->retry_at > now) {
            name->retry_at = now;
            resolver_name_schedule_renewal(name);
        }
    }
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
    name->refused_task.run = on_refused;
    name->wait_limit.fire = on_wait_limit;
    name->renewal.fire = on_renewal;
    resolver_answer_init(name);
    TAILQ_INIT(&name->lookups);
    TAILQ_INIT(&name->both_families);
    TAILQ_INIT(&name->watches);
    if (tsearch(name, &resolver->tree, compare_names) == NULL) {
        free(name);
        errno = ENOMEM;
        return NULL;
    }
    TAILQ_INSERT_TAIL(&resolver->names, name, names);
    return name;
}

/* Makes sure that an answer will arrive. 0, or -1 with errno. */
static int prepare(struct name *name, const struct lookup *lookup)
{
    struct loop *loop = name->resolver->loop;
    if (renew(name) < 0 && !resolver_answer_exists(name))
        return -1;
    if (lookup->both_families && name->asked)
        return 0;
    if (resolver_answer_is_ready(name))
        loop_post(loop, &name->serve_task);
    else if (resolver_answer_exists(name) && !loop_timer_is_set(&name->wait_limit) &&
             loop_set_timer(loop, &name->wait_limit, loop_now(loop) + RESOLVER_WAIT_MAX) < 0)
        loop_post(loop, &name->serve_task);
    return 0;
}

int resolver_lookup(struct resolver *resolver, struct lookup *lookup, const char *text)
{
    struct name *name = name_get(resolver, text);
    if (name == NULL)
        return -1;
    if (prepare(name, lookup) < 0) {
        int number = errno;
        name_settle(name);
        errno = number;
        return -1;
    }
    lookup->name = name;
    lookup->serial = ++resolver->serial;
    TAILQ_INSERT_TAIL(list_of(name, lookup), lookup, link);
    return 0;
}

void resolver_query_note_timeouts(struct query *query, unsigned timeouts)
{
    counter_add(&query->name->resolver->stats.timeouts, timeouts);
}

const struct resolver_stats *resolver_stats(const struct resolver *resolver)
{
    return &resolver->stats;
}

static const struct metric metrics[] = {
    {.name = "queries",
     .help = "Names looked up, both families as one lookup",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct resolver_stats, queries),
     .count = 1,
     .log = "dns_queries"},
    {.name = "failures",
     .help = "Lookups that failed, for one family or both, or were late",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct resolver_stats, failures),
     .count = 1,
     .log = "dns_failures"},
    {.name = "timeouts",
     .help = "How often a name server did not answer in time",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct resolver_stats, timeouts),
     .count = 1,
     .log = "dns_timeouts"},
    {.name = "names_failing",
     .help = "Names whose lookup currently fails and whose last answer "
             "is still used",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct resolver_stats, failing),
     .count = 1,
     .log = "dns_names_failing"},
};

const struct metric_set resolver_metrics = {
    .prefix = "dns_", .metrics = metrics, .count = ARRAY_LEN(metrics)};

void resolver_cancel(struct resolver *resolver, struct lookup *lookup)
{
    struct name *name = lookup->name;
    if (name == NULL)
        return;
    TAILQ_REMOVE(list_of(name, lookup), lookup, link);
    lookup->name = NULL;
    if (!is_looked_up(name)) {
        loop_clear_timer(resolver->loop, &name->wait_limit);
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
    if (TAILQ_EMPTY(&name->watches)) {
        name->recheck_at = 0;
        resolver_name_schedule_renewal(name);
    }
    name_settle(name);
}

void resolver_refresh(struct name_watch *watch)
{
    struct name *name = watch->name;
    if (resolver_answer_was_given(name) && renew(name) < 0)
        log_debug("name=%s could not be looked up", name->text);
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
    resolver_name_schedule_renewal(name);
}

enum address_state resolver_find_address(const struct name_watch *watch,
                                         const union address *address)
{
    const struct address_book *book = &watch->name->book;
    const struct address_entry *entry = address_book_find(book, address);
    if (book->count == 0)
        return ADDRESS_CURRENT;
    if (entry == NULL)
        return ADDRESS_GONE;
    return entry->missed > 0 ? ADDRESS_MISSING : ADDRESS_CURRENT;
}

void resolver_recheck(struct name_watch *watch, const union address *address)
{
    struct name *name = watch->name;
    const struct address_entry *entry = address_book_find(&name->book, address);
    usec_t now = loop_now(name->resolver->loop);
    if (entry == NULL || entry->missed == 0)
        return;
    usec_t when =
        entry->missing_since + (entry->missed == 1 ? RESOLVER_RECHECK : ADDRESS_GONE_TIME);
    if (when <= now) /* that attempt has failed */
        when = now + RESOLVER_RETRY;
    if (name->recheck_at != 0 && name->recheck_at <= when)
        return;
    name->recheck_at = when;
    resolver_name_schedule_renewal(name);
}
