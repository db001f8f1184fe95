/* SPDX-License-Identifier: ISC */
/* A snapshot of what exists: hosts, listeners, sessions. */
#include <stdio.h>

#include "daemon/requests.h"
#include "session/session.h"

static void put_host(const struct pool *pool, const struct pool_host *host,
                     struct snapshot_host *row)
{
    struct pool_view view;
    pool_view(host, &view);
    *row = (struct snapshot_host){.pool = pool_get_name(pool),
                                  .service = view.service,
                                  .resumed_at = view.resumed_at,
                                  .down = view.down,
                                  .down_since = view.down_since,
                                  .last_error = *view.last_error,
                                  .last_error_at = view.last_error_at,
                                  .last_connected_at = view.last_connected_at,
                                  .oldest_wait = view.oldest_wait};
    endpoint_format(view.endpoint, row->upstream);
}

/* Did an earlier listener have the same? */
static bool is_shared(const struct listeners *listeners, const struct listener_context *context)
{
    const struct listener_context *other = NULL;
    while ((other = listeners_next(listeners, other)) != context) {
        if (other->pool_host == context->pool_host)
            return true;
    }
    return false;
}

/* In the order of their metric blocks. */
static void put_hosts(const struct requests *requests, struct snapshot *snapshot)
{
    const struct listener_context *context = NULL;
    size_t room = snapshot->host_count;
    snapshot->host_count = 0;
    while ((context = listeners_next(requests->listeners, context)) != NULL) {
        if (snapshot->host_count < room && !is_shared(requests->listeners, context))
            put_host(context->pool, context->pool_host, &snapshot->hosts[snapshot->host_count++]);
    }
}

static void put_session(const char *listener, const struct session *session,
                        struct snapshot_session *row)
{
    struct session_view view;
    session_view(session, &view);
    *row = (struct snapshot_session){.listener = listener,
                                     .state = view.state,
                                     .age = view.age,
                                     .quiet = view.quiet,
                                     .waiting = view.waiting,
                                     .bytes_up = view.bytes_up,
                                     .bytes_down = view.bytes_down,
                                     .conn = view.conn,
                                     .waits_for_client = view.waits_for_client};
    snprintf(row->client, sizeof(row->client), "%s", view.client);
}

/* The oldest ones, `room` at most, of any configuration; *longest: how long the quietest of them
 * has been quiet. */
static size_t put_sessions(const struct listener *listener, const char *name,
                           struct snapshot_session *rows, size_t room, usec_t *longest)
{
    const struct listener_context *context = NULL;
    size_t n = 0;
    while ((context = listener_next_context(listener, context)) != NULL) {
        const struct session *session = NULL;
        while (n < room && (session = listener_context_next(context, session)) != NULL) {
            put_session(name, session, &rows[n]);
            if (*longest < rows[n].quiet)
                *longest = rows[n].quiet;
            n++;
        }
    }
    return n;
}

static usec_t oldest_session(const struct listener *listener)
{
    const struct listener_context *context = NULL;
    usec_t oldest = 0;
    while ((context = listener_next_context(listener, context)) != NULL) {
        const struct session *session = listener_context_next(context, NULL);
        if (session != NULL && session_age(session) > oldest)
            oldest = session_age(session);
    }
    return oldest;
}

static void put_listener(const struct listener *listener, const struct listener_context *context,
                         struct snapshot_listener *row)
{
    *row = (struct snapshot_listener){.name = context->config->name,
                                      .service = listener_get_service(listener),
                                      .resumed_at = listener_resumed_at(listener),
                                      .oldest_session = oldest_session(listener)};
}

/* How many rows a listener may have: its share of those that are left for the remaining
 * `listeners`, itself included, or what the others, with this many sessions, do not need. */
static size_t share(size_t rows, size_t listeners, size_t others)
{
    size_t fair = rows / listeners, spare = rows > others ? rows - others : 0;
    return fair > spare ? fair : spare;
}

static void put_rows(struct snapshot *snapshot, const struct listener *listener,
                     const struct listener_context *context, size_t room,
                     struct snapshot_listener *row)
{
    size_t n = put_sessions(listener, row->name, snapshot->sessions + snapshot->session_count, room,
                            &row->longest_quiet);
    snapshot->session_count += n;
    snapshot->sessions_left_out += gauge_get(&context->counters->stats.sessions) - n;
}

static void put_listeners(const struct requests *requests, struct snapshot *snapshot)
{
    size_t room = snapshot->listener_count, rows = snapshot->session_count, left = 0, sessions = 0;
    const struct listener_context *each = NULL;
    struct listener *listener = NULL;
    snapshot->listener_count = snapshot->session_count = snapshot->sessions_left_out = 0;
    for (; (each = listeners_next(requests->listeners, each)) != NULL; left++)
        sessions += gauge_get(&each->counters->stats.sessions);
    for (; (listener = listener_next(requests->listeners, listener)) != NULL; left--) {
        const struct listener_context *context = listener_get_context(listener);
        struct snapshot_listener row;
        put_listener(listener, context, &row);
        sessions -= gauge_get(&context->counters->stats.sessions);
        if (snapshot->sessions != NULL)
            put_rows(snapshot, listener, context,
                     share(rows - snapshot->session_count, left, sessions), &row);
        if (snapshot->listener_count < room)
            snapshot->listeners[snapshot->listener_count++] = row;
    }
}

void requests_snapshot(const struct requests *requests, struct snapshot *snapshot)
{
    snapshot->taken_at = unix_time();
    snapshot->generation = requests->generation;
    put_hosts(requests, snapshot);
    put_listeners(requests, snapshot);
}
