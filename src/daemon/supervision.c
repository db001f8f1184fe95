/* SPDX-License-Identifier: ISC */
/* Two timers of the control thread: one for the watchdog, one that checks the state. */
#include "daemon/supervision.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/listener.h"
#include "daemon/notify.h"
#include "pool/pool_types.h"

/* How often the state is checked, and how old a line may get that is no longer accurate. */
#define LOOK_EVERY (1 * USEC_PER_SEC)
#define SAY_EVERY  (10 * USEC_PER_SEC)

/* Counts of clients or connections that differ by less are considered the same. */
#define FEW 10

/* No timer of ours fires more often, whatever interval is configured. */
#define TICK_MIN USEC_PER_MSEC

static void add_host(struct supervision_state *state, const struct host_stats *stats)
{
    for (int i = 0; i < HOST_CONNS; i++)
        state->connections += gauge_get(&stats->conns[i]);
    state->down += gauge_get(&stats->down);
    state->upstreams++;
}

void supervision_read(struct supervision_state *state, const struct metric_block *blocks,
                      size_t count)
{
    *state = (struct supervision_state){.clients = 0};
    for (size_t i = 0; i < count; i++) {
        const struct listeners_stats *listeners = blocks[i].block;
        if (blocks[i].set == &listeners_metrics)
            state->clients = gauge_get(&listeners->clients);
        else if (blocks[i].set == &host_metrics)
            add_host(state, blocks[i].block);
    }
}

/* By at least FEW, and to twice as many or half. */
static bool is_far_from(uint64_t a, uint64_t b)
{
    uint64_t more = a > b ? a : b, fewer = a > b ? b : a;
    return more - fewer >= FEW && more / 2 >= fewer;
}

bool supervision_differs(const struct supervision_state *a, const struct supervision_state *b)
{
    return a->down != b->down || a->upstreams != b->upstreams || a->stopping != b->stopping ||
           is_far_from(a->clients, b->clients) || is_far_from(a->connections, b->connections);
}

static bool is_same(const struct supervision_state *a, const struct supervision_state *b)
{
    return a->clients == b->clients && a->connections == b->connections &&
           a->upstreams == b->upstreams && a->down == b->down && a->stopping == b->stopping;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void say(struct supervision *supervision, const struct supervision_state *state, usec_t now)
{
    char down[64] = "";
    if (state->down > 0)
        snprintf(down, sizeof(down), ", %" PRIu64 " of %" PRIu64 " upstream%s down", state->down,
                 state->upstreams, plural(state->upstreams));
    notify_status("%s%" PRIu64 " client%s, %" PRIu64 " connection%s%s",
                  state->stopping ? "stopping: " : "", state->clients, plural(state->clients),
                  state->connections, plural(state->connections), down);
    supervision->told = *state;
    supervision->told_at = now;
}

static void look(struct supervision *supervision, struct supervision_state *state)
{
    supervision_read(state, supervision->blocks, supervision->block_count);
    state->stopping = supervision->phase == SUPERVISION_STOPPING;
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct supervision *supervision = arg;
    struct supervision_state state;
    usec_t now = monotonic_time();
    (void)fd;
    (void)what;
    if (supervision->phase == SUPERVISION_SILENT)
        return;
    look(supervision, &state);
    if (supervision_differs(&state, &supervision->told) ||
        (now - supervision->told_at >= SAY_EVERY && !is_same(&state, &supervision->told)))
        say(supervision, &state, now);
}

static void ping(struct supervision *supervision)
{
    worker_ping(supervision->worker);
    supervision->pinged_at = monotonic_time();
}

/* Others ping too. A pending ping that is younger than ours was sent because ours had been
 * answered. */
static bool has_answered(const struct supervision *supervision)
{
    usec_t now = monotonic_time();
    return worker_unanswered(supervision->worker) < now - supervision->pinged_at;
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    struct supervision *supervision = arg;
    (void)fd;
    (void)what;
    if (supervision->phase == SUPERVISION_SILENT)
        return;
    if (has_answered(supervision))
        notify_alive();
    ping(supervision);
}

static int add_timer(struct event_base *base, struct event *timer, event_callback_fn fire,
                     usec_t interval, struct supervision *supervision)
{
    if (interval < TICK_MIN)
        interval = TICK_MIN;
    const struct timeval time = {.tv_sec = interval / USEC_PER_SEC,
                                 .tv_usec = interval % USEC_PER_SEC};
    event_assign(timer, base, -1, EV_PERSIST, fire, supervision);
    return event_add(timer, &time);
}

int supervision_start(struct supervision *supervision, struct event_base *base,
                      struct worker *worker)
{
    usec_t watchdog = notify_watchdog();
    supervision->worker = worker;
    if (!notify_is_heard())
        return 0;
    if (add_timer(base, &supervision->second, on_second, LOOK_EVERY, supervision) < 0)
        return -1;
    return watchdog == 0
               ? 0
               : add_timer(base, &supervision->watchdog, on_watchdog, watchdog / 3, supervision);
}

static void look_and_say(struct supervision *supervision)
{
    struct supervision_state state;
    look(supervision, &state);
    say(supervision, &state, monotonic_time());
}

void supervision_ready(struct supervision *supervision)
{
    supervision->phase = SUPERVISION_READY;
    notify_ready();
    look_and_say(supervision);
    if (event_initialized(&supervision->watchdog))
        ping(supervision);
}

void supervision_set_blocks(struct supervision *supervision, const struct metric_block *blocks,
                            size_t count)
{
    supervision->blocks = blocks;
    supervision->block_count = count;
}

void supervision_reloading(struct supervision *supervision, bool reloading)
{
    if (supervision->phase != SUPERVISION_READY)
        return;
    if (reloading)
        notify_reloading();
    else
        notify_ready();
}

void supervision_stopping(struct supervision *supervision)
{
    if (supervision->phase != SUPERVISION_READY)
        return;
    supervision->phase = SUPERVISION_STOPPING;
    notify_stopping();
    look_and_say(supervision);
}

void supervision_end(struct supervision *supervision)
{
    if (event_initialized(&supervision->second))
        event_del(&supervision->second);
    if (event_initialized(&supervision->watchdog))
        event_del(&supervision->watchdog);
    supervision->phase = SUPERVISION_SILENT;
}
