/* SPDX-License-Identifier: ISC */
/* Both ends of the sharing of hosts' limits by two processes. */
#include "daemon/places.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "daemon/places_channel.h"

/* The most hosts remembered that only the other process has. */
#define STRANGERS_MAX 10000

/* A host of either process, or of both. */
struct place {
    struct pool *pool;
    struct pool_host *host; /* retained; NULL: only the other process has it */
    unsigned own;           /* the old end: its places. New: the same, UINT_MAX if it has all */
    unsigned own_held;      /* the new end: its places of max_tunnels */
    uint64_t seq;           /* of the last message about it, sent or received; 0: none */
    /* The contents of that message. At the new end: what the old one may have, with what it was
     * granted since. */
    unsigned places, want, held;
    bool unsent; /* in places->unsent */
    TAILQ_ENTRY(place) link, unsent_link;
    char key[];
};

TAILQ_HEAD(place_list, place);

struct places {
    struct loop *loop;
    bool is_old;
    bool begun;  /* the old end: places_begin was called; new: "all" was received */
    bool shares; /* pools report changes, and give new hosts no places */
    struct places_channel channel;
    struct places_handler *handler;
    struct place_list list;   /* in the order of each pool's hosts */
    struct place_list unsent; /* their messages are composed when they are sent */
    size_t strangers;
    bool all_unsent; /* the old end: "all" is to be sent */
    bool all_due, end_due;
    struct task change_task; /* a pool's figures have changed */
    struct task tell_task;   /* the owner is to be called */
    size_t pool_count;
    struct {
        struct pool *pool;
        struct pool_host *last; /* how many of its hosts are in the list */
    } pools[];
};

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned less(unsigned all, unsigned others)
{
    return all > others ? all - others : 0;
}

static void note_unsent(struct places *places, struct place *place)
{
    if (!place->unsent)
        TAILQ_INSERT_TAIL(&places->unsent, place, unsent_link);
    place->unsent = true;
}

static void set_own(struct place *place, unsigned own)
{
    if (place->own == own)
        return;
    place->own = own;
    pool_set_places(place->host, own);
}

/* The old end. */

/* How many waiters more places would help. */
static unsigned count_waiters(const struct place *place, const struct pool_places *view)
{
    return pool_get_service(place->host) == SERVICE_OPEN ? view->queued : 0;
}

/* Gives up unneeded places, those of idle connections included, and finds what there is to send. */
static struct places_message need(struct place *place)
{
    struct pool_places view;
    pool_view_places(place->host, &view);
    if (count_waiters(place, &view) == 0) {
        set_own(place, least(place->own, view.open - view.idle));
        pool_view_places(place->host, &view);
    }
    unsigned most = less(pool_get_limits(place->pool)->max_per_host, place->own);
    unsigned want = less(count_waiters(place, &view), less(place->own, view.open));
    return (struct places_message){.kind = PLACES_HOST,
                                   .seq = place->seq + 1,
                                   .places = place->own,
                                   .want = least(want, most),
                                   .held = view.held,
                                   .key = place->key};
}

static void follow(struct places *places, struct place *place)
{
    const struct places_message now = need(place);
    if (place->seq == 0 || now.places != place->places || now.want != place->want ||
        now.held != place->held)
        note_unsent(places, place);
}

static bool send_need(struct places *places, struct place *place)
{
    const struct places_message message = need(place);
    if (!places_channel_send(&places->channel, &message))
        return false;
    place->seq = message.seq;
    place->places = message.places;
    place->want = message.want;
    place->held = message.held;
    return true;
}

static void take_grant(struct places *places, const struct places_message *message,
                       struct place *place)
{
    if (place == NULL || message->seq != place->seq || message->places <= place->own)
        return; /* something else was asked for since */
    set_own(place, message->places);
    follow(places, place);
}

/* The new end. */

/* Takes what the old process neither has nor wants. */
static void make_room(struct place *place)
{
    const struct pool_limits *limits = pool_get_limits(place->pool);
    unsigned theirs = place->places + place->want;
    set_own(place, theirs == 0 ? UINT_MAX : less(limits->max_per_host, theirs));
    unsigned held = place->held == 0 ? UINT_MAX : less(limits->max_tunnels, place->held);
    if (held != place->own_held)
        pool_set_held_places(place->host, held);
    place->own_held = held;
}

/* How many the old process may have now of those that it has and wants. */
static unsigned may_have(const struct place *place)
{
    struct pool_places view;
    unsigned theirs = place->places + place->want;
    if (place->host == NULL)
        return theirs;
    pool_view_places(place->host, &view);
    return least(theirs, less(pool_get_limits(place->pool)->max_per_host, view.open));
}

static void settle(struct places *places, struct place *place)
{
    if (place->host != NULL)
        make_room(place);
    if (place->want > 0 && may_have(place) > place->places)
        note_unsent(places, place);
}

static bool send_grant(struct places *places, struct place *place)
{
    const struct places_message message = {
        .kind = PLACES_GRANT, .seq = place->seq, .places = may_have(place), .key = place->key};
    if (message.places <= place->places)
        return true;
    if (!places_channel_send(&places->channel, &message))
        return false;
    place->want -= message.places - place->places;
    place->places = message.places;
    return true;
}

static void take_need(struct places *places, const struct places_message *message,
                      struct place *place)
{
    if (message->seq <= place->seq)
        return;
    place->seq = message->seq;
    place->places = message->places;
    place->want = message->want;
    place->held = message->held;
    settle(places, place);
}

/* Both. */

static struct place *find(const struct places *places, const char *key)
{
    struct place *place;
    TAILQ_FOREACH (place, &places->list, link) {
        if (strcmp(place->key, key) == 0)
            return place;
    }
    return NULL;
}

/* NULL: no memory (logged). */
static struct place *add(struct places *places, const char *key)
{
    size_t size = strlen(key) + 1;
    struct place *place = calloc(1, sizeof(*place) + size);
    if (place == NULL) {
        log_error("no memory to share the places of a host");
        return NULL;
    }
    memcpy(place->key, key, size);
    place->own = place->own_held = UINT_MAX;
    TAILQ_INSERT_TAIL(&places->list, place, link);
    return place;
}

/* At the new end the old one's places of a host are unknown until a message about it, or "all". */
static void update(struct places *places, struct place *place)
{
    if (places->is_old)
        follow(places, place);
    else if (places->begun || place->seq != 0)
        settle(places, place);
}

/* Shares a host. It has what it uses, which is nothing at the new end, where hosts begin without
 * places, including those that appear later. */
static int take_in(struct places *places, struct pool *pool, struct pool_host *host)
{
    char key[PLACES_KEY_MAX];
    struct pool_view view;
    struct pool_places open;
    pool_view(host, &view);
    struct place *place = find(places, places_format_key(pool, view.endpoint, key));
    if (place != NULL && place->host == NULL)
        places->strangers--;
    else if ((place = add(places, key)) == NULL)
        return -1;
    (void)pool_retain(pool, view.endpoint, NULL); /* it exists: this takes no memory */
    place->pool = pool;
    place->host = host;
    pool_view_places(host, &open);
    set_own(place, places->is_old ? open.open - open.idle : 0);
    return 0;
}

/* All hosts that are not shared yet. 0, or -1 with ENOMEM. */
static int take_in_all(struct places *places)
{
    for (size_t i = 0; i < places->pool_count; i++) {
        struct pool *pool = places->pools[i].pool;
        struct pool_host *host;
        while ((host = pool_next_host(pool, places->pools[i].last)) != NULL) {
            if (take_in(places, pool, host) < 0)
                return -1;
            places->pools[i].last = host;
        }
    }
    return 0;
}

static bool send_all(struct places *places)
{
    const struct places_message message = {.kind = PLACES_ALL};
    return places_channel_send(&places->channel, &message);
}

/* Sends what there is to send, as far as the channel takes it. */
static void flush(struct places *places)
{
    struct place *place;
    while ((place = TAILQ_FIRST(&places->unsent)) != NULL) {
        bool sent = places->is_old ? send_need(places, place) : send_grant(places, place);
        if (!sent)
            return;
        TAILQ_REMOVE(&places->unsent, place, unsent_link);
        place->unsent = false;
    }
    if (places->all_unsent && send_all(places))
        places->all_unsent = false;
}

static void on_changed(struct task *task)
{
    struct places *places = container_of(task, struct places, change_task);
    struct place *place;
    if (!places->shares)
        return;
    (void)take_in_all(places); /* or with the next change */
    TAILQ_FOREACH (place, &places->list, link)
        update(places, place);
    flush(places);
}

static void on_pool_changed(struct pool *pool, void *arg)
{
    struct places *places = arg;
    (void)pool;
    loop_post(places->loop, &places->change_task);
}

static void share(struct places *places, bool on)
{
    places->shares = on;
    for (size_t i = 0; i < places->pool_count; i++) {
        struct pool *pool = places->pools[i].pool;
        pool_on_change(pool, on ? on_pool_changed : NULL, places);
        pool_set_new_places(pool, on ? 0 : UINT_MAX);
    }
}

static void give_back(struct places *places)
{
    struct place *place;
    if (places->shares)
        share(places, false);
    loop_unpost(places->loop, &places->change_task);
    TAILQ_INIT(&places->unsent);
    while ((place = TAILQ_FIRST(&places->list)) != NULL) {
        TAILQ_REMOVE(&places->list, place, link);
        if (place->host != NULL) {
            pool_set_places(place->host, UINT_MAX);
            pool_set_held_places(place->host, UINT_MAX);
            pool_unretain(place->host);
        }
        free(place);
    }
}

static void on_tell(struct task *task)
{
    struct places *places = container_of(task, struct places, tell_task);
    struct places_handler *handler = places->handler;
    bool all = places->all_due;
    if (all && places->end_due)
        loop_post(places->loop, &places->tell_task);
    places->all_due = false;
    if (all)
        handler->all(handler);
    else
        handler->ended(handler);
}

static void on_ended(struct places_channel *channel)
{
    struct places *places = container_of(channel, struct places, channel);
    give_back(places);
    places->end_due = true;
    loop_post(places->loop, &places->tell_task);
}

static void on_writable(struct places_channel *channel)
{
    flush(container_of(channel, struct places, channel));
}

/* The old process has a host that this one does not have, or not yet. */
static struct place *add_stranger(struct places *places, const char *key)
{
    if (places->strangers >= STRANGERS_MAX)
        return NULL;
    struct place *place = add(places, key);
    places->strangers += place != NULL;
    return place;
}

static void take_all(struct places *places)
{
    if (places->begun)
        return;
    places->begun = places->all_due = true;
    loop_post(places->loop, &places->tell_task);
}

static void on_received(struct places_channel *channel, const struct places_message *message)
{
    struct places *places = container_of(channel, struct places, channel);
    struct place *place = message->key == NULL ? NULL : find(places, message->key);
    if (places->is_old != (message->kind == PLACES_GRANT)) {
        log_warning("a message about places from the wrong side is ignored");
        return;
    }
    if (place == NULL && message->kind == PLACES_HOST)
        place = add_stranger(places, message->key);
    if (message->kind == PLACES_ALL)
        take_all(places);
    else if (place != NULL && places->is_old)
        take_grant(places, message, place);
    else if (place != NULL)
        take_need(places, message, place);
    loop_post(places->loop, &places->change_task);
}

static void init(struct places *places, struct pool *const *pools, size_t pool_count)
{
    TAILQ_INIT(&places->list);
    TAILQ_INIT(&places->unsent);
    places->change_task.run = on_changed;
    places->tell_task.run = on_tell;
    places->channel.fd = -1;
    places->channel.received = on_received;
    places->channel.writable = on_writable;
    places->channel.ended = on_ended;
    places->pool_count = pool_count;
    for (size_t i = 0; i < pool_count; i++)
        places->pools[i].pool = pools[i];
}

struct places *places_new(struct loop *loop, int fd, struct pool *const *pools, size_t pool_count,
                          bool is_old, struct places_handler *handler)
{
    struct places *places = calloc(1, sizeof(*places) + pool_count * sizeof(places->pools[0]));
    if (places == NULL)
        return NULL;
    places->loop = loop;
    places->is_old = is_old;
    places->handler = handler;
    init(places, pools, pool_count);
    if (!is_old) {
        share(places, true);
        if (take_in_all(places) < 0)
            goto err_places;
    }
    if (places_channel_init(&places->channel, loop, fd) < 0)
        goto err_places;
    return places;

err_places:
    places->channel.fd = -1;
    int number = errno;
    places_free(places);
    errno = number;
    return NULL;
}

int places_begin(struct places *places)
{
    assert(places->is_old && !places->begun);
    places->begun = places->all_unsent = true;
    if (places->channel.fd < 0)
        return 0; /* which is about to be sent */
    share(places, true);
    if (take_in_all(places) < 0) {
        give_back(places);
        return -1;
    }
    loop_post(places->loop, &places->change_task);
    return 0;
}

void places_free(struct places *places)
{
    if (places == NULL)
        return;
    places_channel_clear(&places->channel);
    give_back(places);
    loop_unpost(places->loop, &places->tell_task);
    free(places);
}
