/* SPDX-License-Identifier: ISC */
/* Clients wait for a host, why, and whether it is slow. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/problems_internal.h"

/* Shorter waits are not reported: connections are handed from one client to the next all the
 * time. */
#define WAIT_LONG   (100 * USEC_PER_MSEC)
#define WAIT_LONGER USEC_PER_SEC

/* If half of the exchanges take longer than this, and clients wait because of it, the upstream is
 * slow, rather than the pool too small. Or a quarter of response_timeout, if that is less. */
#define SLOW USEC_PER_SEC

/* "listener shop was paused until 2026-11-30T05:59:36Z (12 s ago)" */
#define PAUSE_TEXT_MAX 160

/* Opaque bytes have no exchanges. */
static bool is_framed(const struct config_listener *listener)
{
    return endpoint_scheme(&listener->upstream)->protocol != PROTOCOL_OPAQUE;
}

static usec_t slow_for(const struct config_listener *listener)
{
    usec_t quarter = listener->response_timeout / 4;
    return quarter > 0 && quarter < SLOW ? quarter : SLOW;
}

/* Does the listener use the host? */
static bool serves(const struct search *search, const struct host *host, const char *listener)
{
    for (size_t i = 0; i < search->config->listener_count; i++) {
        if (search->served[i].host == host->subject &&
            strcmp(search->config->listeners[i].name, listener) == 0)
            return true;
    }
    return false;
}

/* How long the exchanges of all listeners of a host take, by the slowest listener. */
struct speed {
    usec_t half, most;                      /* median, and 99 of 100 */
    const struct config_listener *listener; /* NULL: there were none */
};

static void find_speed(const struct search *search, const struct host *host, struct speed *speed)
{
    *speed = (struct speed){.listener = NULL};
    for (size_t i = 0; i < search->config->listener_count; i++) {
        const struct config_listener *listener = &search->config->listeners[i];
        const struct served *served = &search->served[i];
        usec_t half, most;
        if (served->host != host->subject || !is_framed(listener) ||
            !quantile(search, served->listener, "listener_exchange", 0.5, &half) ||
            !quantile(search, served->listener, "listener_exchange", 0.99, &most) ||
            (speed->listener != NULL && half <= speed->half))
            continue;
        *speed = (struct speed){half, most, listener};
    }
}

static bool is_slow(const struct speed *speed)
{
    return speed->listener != NULL && speed->half >= slow_for(speed->listener);
}

/* An exchange also takes long if its client is slow to send, or to receive. Of the exchanges now
 * under way, do more wait for the upstream? If that is unknown, the upstream is taken for the
 * cause. */
static bool upstream_is_waited_for(const struct search *search, const struct host *host)
{
    const struct snapshot *snapshot = search->input->snapshot;
    size_t clients = 0, upstream = 0;
    if (snapshot == NULL || snapshot->sessions == NULL)
        return true;
    for (size_t i = 0; i < snapshot->session_count; i++) {
        const struct snapshot_session *session = &snapshot->sessions[i];
        if (session->conn == 0 || strcmp(session->state, "relaying") != 0 ||
            !serves(search, host, session->listener))
            continue;
        clients += session->waits_for_client;
        upstream += !session->waits_for_client;
    }
    return upstream > clients;
}

/* Why clients wait now, with the key and the number. */
static void add_limit(struct search *search, const struct host *host, struct problem *problem)
{
    const struct pool_limits *limits = &host->pool->limits;
    uint64_t open = 0;
    for (size_t i = 0; i < search->subjects->count; i++) {
        const struct subject *other = &search->subjects->list[i];
        if (other->kind == SUBJECT_HOST &&
            names_find_pool(search->config, other->labels.pool) == host->pool)
            open += number_of(search, other, "upstream_connections", NULL);
    }
    if (host->row != NULL && host->row->service == SERVICE_PAUSED)
        problem_add(problem, "it is paused (resume lets them go)");
    else if (host->busy >= limits->max_per_host)
        problem_add(problem, "max_per_host=%u, all %" PRIu64 " are busy", limits->max_per_host,
                    host->busy);
    else if (host->queued > 0 && open >= limits->max_open)
        problem_add(problem, "max_open=%u, so many connections are open in pool %s",
                    limits->max_open, host->place.pool);
    else if (host->queued > 0 && limits->max_connecting > 0 &&
             host->connecting >= limits->max_connecting)
        problem_add(problem, "max_connecting=%u, so many are being opened", limits->max_connecting);
    else
        problem_add(problem,
                    "%" PRIu64 " connection%s being opened, and %" PRIu64
                    " of max_per_host=%u are busy",
                    host->connecting, host->connecting == 1 ? " is" : "s are", host->busy,
                    limits->max_per_host);
}

static void add_advice(const struct search *search, const struct host *host,
                       const struct speed *speed, struct problem *problem)
{
    char half[SPAN_TEXT_MAX];
    if (speed->listener == NULL || !host->is_full)
        return;
    problem_add(problem, "; half of the exchanges take up to %s: ", span_text(half, speed->half));
    if (!is_slow(speed))
        problem_add(problem, "the pool is too small, or clients are too many");
    else if (upstream_is_waited_for(search, host))
        problem_add(problem, "the upstream is slow, and more connections may not help");
    else
        problem_add(problem, "clients are slow to send, or to take what they are sent");
}

static void find_waiting(struct search *search, const struct host *host, const struct speed *speed)
{
    char span[SPAN_TEXT_MAX], limit[LOG_LIMIT_MAX];
    usec_t timeout = host->pool->limits.timeout;
    usec_t oldest = host->row != NULL ? host->row->oldest_wait : 0;
    uint64_t failed = lately(search, host->subject, "upstream_failures", "queue");
    bool bad = failed > 0 || oldest > timeout / 2;
    struct problem *problem = problem_new(search, bad ? SEVERITY_CRITICAL : SEVERITY_WARNING,
                                          "clients_waiting", &host->place);
    problem_add(problem, "%" PRIu64 " client%s for a connection to %s", host->waiting,
                host->waiting == 1 ? " waits" : "s wait", host->name);
    if (oldest > 0)
        problem_add(problem, ", %s%s", host->waiting == 1 ? "for " : "the first one for ",
                    span_text(span, oldest));
    problem_add(problem, ": ");
    add_limit(search, host, problem);
    add_advice(search, host, speed, problem);
    if (failed > 0)
        problem_add(problem,
                    ". %" PRIu64 " got none within timeout=%s, in the last minute, and an error"
                    " instead",
                    failed, log_limit(limit, timeout));
}

/* A minute, and the time between two copies of the numbers. */
static bool was_lately(const struct search *search, int64_t moment)
{
    return moment > 0 && search->input->unix_now - moment <= HISTORY_MINUTE + HISTORY_INTERVAL;
}

static const char *put_pause(const struct search *search, enum service service, int64_t resumed_at,
                             const char *whose, const char *name, char text[PAUSE_TEXT_MAX])
{
    char moment[MOMENT_TEXT_MAX];
    if (service == SERVICE_PAUSED)
        snprintf(text, PAUSE_TEXT_MAX, "%s%s is paused", whose, name);
    else if (was_lately(search, resumed_at))
        snprintf(text, PAUSE_TEXT_MAX, "%s%s was paused until %s", whose, name,
                 moment_text(moment, resumed_at, search->input->unix_now));
    else
        return NULL;
    return text;
}

/* Has an operator made the clients of a host wait? NULL: no. */
static const char *pause_text(const struct search *search, const struct host *host,
                              char text[PAUSE_TEXT_MAX])
{
    const struct snapshot_host *row = host->row;
    const char *found =
        row == NULL ? NULL
                    : put_pause(search, row->service, row->resumed_at, "the upstream", "", text);
    for (size_t i = 0; found == NULL && i < search->config->listener_count; i++) {
        const char *name = search->config->listeners[i].name;
        const struct snapshot_listener *listener =
            names_listener_row(search->input->snapshot, name);
        if (search->served[i].host == host->subject && listener != NULL)
            found =
                put_pause(search, listener->service, listener->resumed_at, "listener ", name, text);
    }
    return found;
}

/* Clients that were served by another client's release, if that took long for some. The end of a
 * pause, when all need one at once, says nothing about limits. */
static void find_waited(struct search *search, const struct host *host, const struct speed *speed)
{
    char half[SPAN_TEXT_MAX], most[SPAN_TEXT_MAX], pause[PAUSE_TEXT_MAX];
    usec_t median, slowest;
    uint64_t failed = lately(search, host->subject, "upstream_failures", "queue");
    uint64_t deferred = lately(search, host->subject, "upstream_grants", "deferred");
    uint64_t all = lately(search, host->subject, "upstream_grants", NULL);
    if (!quantile(search, host->subject, "upstream_wait", 0.5, &median) ||
        !quantile(search, host->subject, "upstream_wait", 0.99, &slowest))
        median = slowest = 0;
    if (failed == 0 && (deferred == 0 || slowest < WAIT_LONG))
        return;
    const char *paused = pause_text(search, host, pause);
    enum severity severity = failed > 0 || (paused == NULL && slowest >= WAIT_LONGER)
                                 ? SEVERITY_WARNING
                                 : SEVERITY_NOTICE;
    struct problem *problem = problem_new(search, severity, "waits_lately", &host->place);
    if (all > 0)
        problem_add(problem,
                    "In the last minute %" PRIu64 " of %" PRIu64 " clients of %s had to wait for"
                    " another one's connection (of all, half up to %s, one in a hundred %s or"
                    " longer): ",
                    deferred, all, host->name, span_text(half, median), span_text(most, slowest));
    else
        problem_add(problem, "In the last minute clients of %s got no connection: ", host->name);
    if (paused != NULL) {
        problem_add(problem, "%s", paused);
    } else {
        problem_add(problem, "max_per_host=%u", host->pool->limits.max_per_host);
        add_advice(search, host, speed, problem);
    }
    if (failed > 0)
        problem_add(problem, ". %" PRIu64 " got none in time, and an error instead", failed);
}

static void find_limits(struct search *search, const struct host *host)
{
    const struct pool_limits *limits = &host->pool->limits;
    if (limits->max_waiting > 0 && host->queued >= limits->max_waiting)
        problem_add(problem_new(search, SEVERITY_CRITICAL, "limit_reached", &host->place),
                    "%" PRIu64 " clients are in the queue for %s, as many as max_waiting=%u allows:"
                    " others get an error at once",
                    host->queued, host->name, limits->max_waiting);
    if (limits->max_tunnels > 0 && host->held >= limits->max_tunnels)
        problem_add(problem_new(search, SEVERITY_WARNING, "limit_reached", &host->place),
                    "Clients hold %" PRIu64 " connections to %s for themselves (WebSockets,"
                    " subscribers, transactions), as many as max_tunnels=%u allows: another one"
                    " is refused",
                    host->held, host->name, limits->max_tunnels);
}

void problems_of_waits(struct search *search, const struct host *host)
{
    struct speed speed;
    find_speed(search, host, &speed);
    bool long_enough = host->row == NULL || host->row->oldest_wait >= WAIT_LONG;
    if (host->waiting > 0 && long_enough)
        find_waiting(search, host, &speed);
    else
        find_waited(search, host, &speed);
    find_limits(search, host);
}

/* A slow upstream matters when all connections are in use, or response_timeout is near. */
void problems_of_speed(struct search *search, const struct host *host)
{
    char half[SPAN_TEXT_MAX], most[SPAN_TEXT_MAX], limit[LOG_LIMIT_MAX];
    struct speed speed;
    find_speed(search, host, &speed);
    if (speed.listener == NULL)
        return;
    usec_t timeout = speed.listener->response_timeout;
    bool pressed = host->is_full || host->waiting > 0 ||
                   lately(search, host->subject, "upstream_grants", "deferred") > 0;
    bool near = timeout > 0 && speed.most >= timeout / 2;
    if ((!near && !(pressed && is_slow(&speed))) || !upstream_is_waited_for(search, host))
        return;
    struct problem *problem = problem_new(search, SEVERITY_WARNING, "upstream_slow", &host->place);
    problem_add(problem,
                "%s is slow: in the last minute half of the exchanges of listener %s took %s or"
                " longer, and one in a hundred %s",
                host->name, speed.listener->name, span_text(half, speed.half),
                span_text(most, speed.most));
    if (near)
        problem_add(problem, "; response_timeout=%s is near", log_limit(limit, timeout));
    problem_add(problem,
                "; %" PRIu64 " of max_per_host=%u connections are busy, %" PRIu64 " client%s",
                host->busy, host->pool->limits.max_per_host, host->waiting,
                host->waiting == 1 ? " waits" : "s wait");
}

void problems_of_service(struct search *search, const struct host *host)
{
    char limit[LOG_LIMIT_MAX];
    if (host->row == NULL || host->row->service == SERVICE_OPEN)
        return;
    if (host->row->service == SERVICE_PAUSED)
        problem_add(problem_new(search, SEVERITY_NOTICE, "paused", &host->place),
                    "%s is paused: its clients wait, and time out after timeout=%s, until it is"
                    " resumed; %" PRIu64 " wait%s now",
                    host->name, log_limit(limit, host->pool->limits.timeout), host->waiting,
                    host->waiting == 1 ? "s" : "");
    else
        problem_add(problem_new(search, SEVERITY_NOTICE, "draining", &host->place),
                    "%s is draining: clients are refused until it is resumed; %" PRIu64
                    " connection%s left",
                    host->name, host->busy + host->held,
                    host->busy + host->held == 1 ? " is" : "s are");
}
