/* SPDX-License-Identifier: ISC */
/* The results of a name's queries, by family, and which of them may be handed out. */
#include <string.h>

#include "base/log.h"
#include "net/precedence.h"
#include "net/resolver_internal.h"

enum { IN4, IN6 };

#define FAILING_BOTH 3u

static const char no_address[] = "Host has no address.";

static struct loop *loop_of(const struct name *name)
{
    return name->resolver->loop;
}

static usec_t now_of(const struct name *name)
{
    return loop_now(loop_of(name));
}

void resolver_answer_init(struct name *name)
{
    name->families[IN4].family = AF_INET;
    name->families[IN6].family = AF_INET6;
    name->delay.fire = resolver_answer_on_delay;
}

void resolver_answer_await(struct name *name)
{
    for (int i = 0; i < FAMILIES; i++)
        name->families[i].part = PART_AWAITED;
}

/* While the other family is awaited, what has arrived is not queried again, and so stays fresh. */
static bool is_fresh(const struct name *name, const struct family *family)
{
    return (name->asked && family->part == PART_CAME) || now_of(name) < family->fresh_until;
}

static bool is_awaited(const struct name *name, const struct family *family)
{
    return name->asked && family->part == PART_AWAITED;
}

static bool has_addresses(const struct name *name, const struct family *family)
{
    return family->count > 0 && now_of(name) < family->fresh_until + RESOLVER_STALE_MAX;
}

bool resolver_answer_is_fresh(const struct name *name)
{
    return is_fresh(name, &name->families[IN4]) && is_fresh(name, &name->families[IN6]);
}

bool resolver_answer_was_given(const struct name *name)
{
    return name->families[IN4].count > 0 || name->families[IN6].count > 0;
}

bool resolver_answer_exists(const struct name *name)
{
    return has_addresses(name, &name->families[IN4]) || has_addresses(name, &name->families[IN6]);
}

bool resolver_answer_is_ready(const struct name *name)
{
    for (int i = 0; i < FAMILIES; i++) {
        const struct family *family = &name->families[i];
        if (!is_fresh(name, family) && !family->waived)
            return false;
    }
    return resolver_answer_exists(name);
}

/* A family that failed is retried later; one that was late, when it expires. */
static usec_t due_at(const struct name *name, const struct family *family)
{
    bool pauses = family->waived && name->retry_at > family->fresh_until;
    return pauses ? name->retry_at : family->fresh_until;
}

usec_t resolver_answer_due_at(const struct name *name)
{
    if (!resolver_answer_exists(name))
        return name->retry_at;
    usec_t in4 = due_at(name, &name->families[IN4]), in6 = due_at(name, &name->families[IN6]);
    return in4 < in6 ? in4 : in6;
}

bool resolver_answer_is_due(const struct name *name)
{
    return !name->asked &&
           (!resolver_answer_exists(name) || now_of(name) >= resolver_answer_due_at(name));
}

bool resolver_answer_is_partial(const struct name *name)
{
    for (int i = 0; i < FAMILIES; i++) {
        const struct family *family = &name->families[i];
        if (is_awaited(name, family) && !is_fresh(name, family) && !has_addresses(name, family))
            return true;
    }
    return false;
}

void resolver_answer_tell(struct name *name, enum askers askers)
{
    union address addresses[ADDRESS_BOOK_MAX];
    size_t count = 0;
    for (int i = 0; i < FAMILIES; i++) {
        const struct family *family = &name->families[name->in6_first ? 1 - i : i];
        if (has_addresses(name, family))
            count += address_book_list(&name->book, family->family, addresses + count);
    }
    resolver_name_tell(name, askers, addresses, count, count == 0 ? no_address : NULL);
}

static void set_failing(struct name *name, unsigned failing)
{
    struct gauge *names = &name->resolver->stats.failing;
    gauge_set(names, gauge_get(names) + (failing != 0) - (name->failing != 0));
    name->failing = failing;
}

/* Logs what fails from now on, unless that was already logged. */
static void note_failing(struct name *name, unsigned failing, const char *error)
{
    if (failing == name->failing)
        return;
    set_failing(name, failing);
    if (failing == 0) {
        log_notice("name=%s lookups work again", name->text);
        return;
    }
    if (failing == FAILING_BOTH) {
        log_warning("name=%s lookup failed: error=\"%s\"; its last answer is used for up to 1 h",
                    name->text, error);
        return;
    }
    int index = failing == 1u << IN6 ? IN6 : IN4;
    log_warning("name=%s lookup of %s addresses failed: error=\"%s\"; %s", name->text,
                index == IN6 ? "IPv6" : "IPv4", error,
                has_addresses(name, &name->families[index]) ? "the last ones are used for up to 1 h"
                                                            : "it is used without them");
}

void resolver_answer_note_failure(struct name *name, const char *error)
{
    bool exists = resolver_answer_exists(name);
    counter_add(&name->resolver->stats.failures, 1);
    name->retry_at = now_of(name) + RESOLVER_RETRY;
    for (int i = 0; i < FAMILIES; i++)
        name->families[i].waived = exists;
    if (exists)
        note_failing(name, FAILING_BOTH, error);
    resolver_name_schedule_renewal(name);
}

static void forget(struct name *name)
{
    for (int i = 0; i < FAMILIES; i++) {
        struct family *family = &name->families[i];
        family->count = 0;
        family->fresh_until = 0;
        family->waived = false;
    }
    name->book.count = 0;
    set_failing(name, 0);
}

/* The query has ended without any address. */
static void fail(struct name *name, const char *error)
{
    resolver_answer_note_failure(name, error);
    if (address_book_lacks(&name->book))
        resolver_name_tell_watches(name);
    if (resolver_answer_exists(name))
        resolver_answer_tell(name, ASKERS_ALL);
    else
        resolver_name_tell(name, ASKERS_ALL, NULL, 0, error);
}

static void end_query(struct name *name)
{
    name->asked = false;
    loop_clear_timer(loop_of(name), &name->delay);
}

/* Both families were answered, and at least one has addresses. */
static void succeed(struct name *name)
{
    unsigned failing = 0;
    const char *error = NULL;
    for (int i = 0; i < FAMILIES; i++) {
        struct family *family = &name->families[i];
        if (family->part != PART_FAILED)
            continue;
        family->waived = true;
        failing |= 1u << i;
        error = family->error;
    }
    name->retry_at = failing == 0 ? 0 : now_of(name) + RESOLVER_RETRY;
    note_failing(name, failing, error);
    resolver_name_schedule_renewal(name);
    if (failing != 0 && address_book_lacks(&name->book))
        resolver_name_tell_watches(name);
    resolver_answer_tell(name, ASKERS_ALL);
}

/* The other family took too long: waiting lookups proceed without it. */
void resolver_answer_on_delay(struct timer *timer)
{
    struct name *name = container_of(timer, struct name, delay);
    for (int i = 0; i < FAMILIES; i++) {
        struct family *family = &name->families[i];
        if (family->part == PART_AWAITED)
            family->waived = true;
    }
    resolver_answer_tell(name, ASKERS_MOST);
}

/* One family was answered, the other is awaited. */
static void give_it_time(struct name *name)
{
    if (resolver_answer_is_ready(name)) {
        resolver_answer_tell(name, ASKERS_MOST);
        return;
    }
    loop_clear_timer(loop_of(name), &name->wait_limit);
    if (loop_timer_is_set(&name->delay)) /* another back end has delivered the same again */
        return;
    if (loop_set_timer(loop_of(name), &name->delay, now_of(name) + RESOLVER_DELAY) < 0)
        resolver_answer_on_delay(&name->delay);
}

/* RFC 6724 decides between the families; within each the addresses are already sorted. */
static void order_families(struct name *name)
{
    union address in4[ADDRESS_BOOK_MAX], in6[ADDRESS_BOOK_MAX];
    struct destination first4, first6;
    if (address_book_list(&name->book, AF_INET, in4) == 0 ||
        address_book_list(&name->book, AF_INET6, in6) == 0)
        return;
    precedence_init(&first4, &in4[0]);
    precedence_init(&first6, &in6[0]);
    name->in6_first = !precedence_is_lower(&first6, &first4);
}

/* Part or all of the answer has arrived. */
static void proceed(struct name *name)
{
    const struct family *in4 = &name->families[IN4], *in6 = &name->families[IN6];
    bool came = in4->part == PART_CAME || in6->part == PART_CAME;
    order_families(name);
    if (in4->part == PART_AWAITED || in6->part == PART_AWAITED) {
        if (came)
            give_it_time(name);
        return;
    }
    end_query(name);
    if (came)
        succeed(name);
    else if (in4->part == PART_FAILED)
        fail(name, in4->error);
    else
        fail(name, in6->part == PART_FAILED ? in6->error : no_address);
}

static usec_t within_bounds(usec_t ttl)
{
    if (ttl < RESOLVER_TTL_MIN)
        return RESOLVER_TTL_MIN;
    return ttl > RESOLVER_TTL_MAX ? RESOLVER_TTL_MAX : ttl;
}

/* Stores a family's addresses; calls the watchers. */
static void take(struct name *name, struct family *family, const union address *addresses,
                 size_t count, usec_t fresh_until)
{
    union address listed[ADDRESS_BOOK_MAX];
    bool changed = address_book_note(&name->book, family->family, addresses, count, now_of(name));
    family->count = address_book_list(&name->book, family->family, listed);
    family->part = PART_CAME;
    family->fresh_until = fresh_until;
    family->waived = false;
    if (changed)
        resolver_name_tell_watches(name);
}

/* An empty answer for a family is trusted once the other family has addresses, and for as long as
 * these. */
static void take_empty(struct name *name)
{
    for (int i = 0; i < FAMILIES; i++) {
        struct family *family = &name->families[i], *other = &name->families[1 - i];
        if (family->part == PART_EMPTY && other->part == PART_CAME)
            take(name, family, NULL, 0, other->fresh_until);
    }
}

static bool holds_family(const union address *addresses, size_t count, sa_family_t family)
{
    for (size_t i = 0; i < count; i++) {
        if (addresses[i].sa.sa_family == family)
            return true;
    }
    return false;
}

/* One family's part. */
static void note_part(struct name *name, struct family *family, const union address *addresses,
                      size_t count, usec_t ttl)
{
    if (holds_family(addresses, count, family->family))
        take(name, family, addresses, count, now_of(name) + within_bounds(ttl));
    else
        family->part = PART_EMPTY;
}

static struct family *find_family(struct name *name, sa_family_t family)
{
    return &name->families[family == AF_INET6 ? IN6 : IN4];
}

void resolver_query_answer(struct query *query, const union address *addresses, size_t count,
                           const char *error)
{
    struct name *name = query->name;
    end_query(name);
    if (error == NULL && count > 0) {
        forget(name);
        resolver_name_tell(name, ASKERS_ALL, addresses, count, NULL);
        return;
    }
    fail(name, error != NULL ? error : no_address);
}

void resolver_query_answer_kept(struct query *query, const union address *addresses, size_t count,
                                usec_t ttl)
{
    struct name *name = query->name;
    for (int i = 0; i < FAMILIES; i++)
        note_part(name, &name->families[i], addresses, count, ttl);
    take_empty(name);
    proceed(name);
}

void resolver_query_answer_family(struct query *query, sa_family_t family,
                                  const union address *addresses, size_t count, usec_t ttl)
{
    struct name *name = query->name;
    note_part(name, find_family(name, family), addresses, count, ttl);
    take_empty(name);
    proceed(name);
}

void resolver_query_fail_family(struct query *query, sa_family_t family, const char *error)
{
    struct name *name = query->name;
    struct family *failed = find_family(name, family);
    failed->part = PART_FAILED;
    failed->error = error;
    proceed(name);
}
