/* SPDX-License-Identifier: ISC */
/* A client's run: its steps, when it is watched, and its timer, until it has to wait. */
#include "session/exchange.h"

#include <stdlib.h>

/* The most steps of one run. */
#define STEPS_MAX 32

/* How long a client that has sent nothing yet may begin its request when kaproxy stops. */
#define DRAIN_GRACE (1 * USEC_PER_SEC)

static struct client *client_of(struct session *session)
{
    return container_of(session, struct client, session);
}

static enum step next_step(struct client *client)
{
    enum session_state state = client->session.state;
    if (state == SESSION_READING)
        return client->ops->read(client);
    if (state == SESSION_LINGERING)
        return exchange_linger_step(client);
    if (client->tunnel != NULL) {
        duplex_work(&client->session, client->tunnel, false);
        return STEP_DONE;
    }
    if (exchange_check_client(client) == STEP_GONE)
        return STEP_GONE;
    switch (state) {
    case SESSION_RELAYING:
        return client->ops->relay(client);
    case SESSION_DRAINING:
        return exchange_drain_step(client);
    case SESSION_READING:
    case SESSION_WAITING:
    case SESSION_LINGERING:
    case SESSION_CLOSED:
    case SESSION_STATES:
        break;
    }
    return STEP_BLOCKED;
}

/* Does the next step depend on the client? */
static bool needs_client(const struct client *client)
{
    switch (client->session.state) {
    case SESSION_WAITING:
        return client->ops->ends_request(client, false);
    case SESSION_RELAYING:
        return client->tunnel != NULL || client->ops->ends_request(client, false) ||
               (client->ops->traits(client) & CLIENT_IS_SENDING) != 0 || exchange_has_down(client);
    case SESSION_READING:
    case SESSION_DRAINING:
    case SESSION_LINGERING:
    case SESSION_CLOSED:
    case SESSION_STATES:
        break;
    }
    return true;
}

/* Ensures that this session is run again. A client on which nothing depends is only watched when
 * the wait is long, to notice that it leaves: a one-shot exchange should be complete by then. 0, or
 * -1 with errno. */
static int wait_for_more(struct client *client)
{
    struct session *session = &client->session;
    session->quiet_max = client->ops->quiet_max(client);
    if (needs_client(client)) {
        if (!stream_is_watched(&session->client))
            exchange_note_watch(client);
        if (session_watch_client(session) < 0)
            return -1;
    } else if (!stream_is_watched(&session->client) && session->limit_at == 0) {
        client->watch_at = loop_now(session->context->worker.loop) + exchange_watch_after(client);
        session->limit_at = client->watch_at;
    }
    return session_start_timer(session);
}

void exchange_run(struct session *session)
{
    struct client *client = client_of(session);
    enum step step = STEP_AGAIN;
    client->taken = 0;
    for (int i = 0; step == STEP_AGAIN && i < STEPS_MAX && client->taken < EXCHANGE_PIECE; i++)
        step = next_step(client);
    if (step == STEP_GONE || step == STEP_DONE)
        return;
    if (exchange_own_buffers(client) < 0 || (step == STEP_BLOCKED && wait_for_more(client) < 0))
        session_finish(session, SESSION_ERROR);
    else
        session_pause(session, client->taken, step != STEP_BLOCKED);
}

/* Only the time without a watch has passed, and the client may be watched by now. */
static bool watch_is_due(const struct client *client)
{
    const struct session *session = &client->session;
    bool may_watch = session->state != SESSION_READING && session->state != SESSION_LINGERING;
    return may_watch && session->limit_at != 0 && session->limit_at == client->watch_at &&
           session->limit_at <= loop_now(session->context->worker.loop);
}

void exchange_on_timeout(struct session *session)
{
    struct client *client = client_of(session);
    enum step step;
    if (watch_is_due(client)) {
        session->limit_at = 0;
        if (exchange_check_unwatched(client) == STEP_GONE)
            return;
        if (session_watch_client(session) < 0 || session_start_timer(session) < 0)
            session_finish(session, SESSION_ERROR);
        return;
    }
    if (session->state == SESSION_LINGERING) {
        step = exchange_linger_timed_out(client);
    } else if (client->tunnel != NULL) {
        duplex_timed_out(session, client->tunnel);
        step = STEP_DONE;
    } else {
        step = client->ops->time_is_over(client);
    }
    if (step != STEP_GONE && step != STEP_DONE)
        exchange_run(session);
}

void exchange_on_unacked(struct session *session)
{
    struct client *client = client_of(session);
    if (client->tunnel != NULL)
        duplex_unacked(session, client->tunnel);
    else if (client->ops->unacked(client) != STEP_GONE)
        exchange_run(session);
}

void exchange_on_drain(struct session *session)
{
    struct client *client = client_of(session);
    if (session->state != SESSION_READING || client->exchange != NULL)
        return;
    /* The request of a client that has just connected is under way. */
    usec_t until = loop_now(session->context->worker.loop) + DRAIN_GRACE;
    if (session->limit_at == 0 || until < session->limit_at)
        session->limit_at = until;
    bool waits = !client->served && session_start_timer(session) == 0;
    if (!waits && exchange_end_client(client) != STEP_GONE)
        exchange_run(session);
}

struct conn_info *exchange_conn_info(struct session *session)
{
    struct exchange *exchange = client_of(session)->exchange;
    return exchange != NULL ? &exchange->conn : NULL;
}

/* What is buffered goes first, in either direction. */
static int put_buffered(struct client *client)
{
    struct duplex *tunnel = client->tunnel;
    struct buffer *response = &client->exchange->response_in;
    if (relay_put(&tunnel->down, buffer_data(&client->down), buffer_length(&client->down)) < 0 ||
        relay_put(&tunnel->down, buffer_data(response), buffer_length(response)) < 0 ||
        relay_put(&tunnel->up, buffer_data(&client->in), buffer_length(&client->in)) < 0)
        return -1;
    buffer_clear(&client->down);
    buffer_clear(response);
    buffer_clear(&client->in);
    return 0;
}

enum step exchange_open_tunnel(struct client *client)
{
    struct session *session = &client->session;
    client->tunnel = calloc(1, sizeof(*client->tunnel));
    if (client->tunnel == NULL)
        return exchange_finish(client, SESSION_ERROR);
    session->limit_at = 0;
    session->quiet_max = session->context->config->idle_timeout;
    if (put_buffered(client) < 0 || session_watch_client(session) < 0)
        return exchange_finish(client, SESSION_ERROR);
    return STEP_AGAIN;
}

void exchange_clear_client(struct client *client)
{
    buffer_clear(&client->in);
    buffer_clear(&client->down);
    if (client->tunnel != NULL)
        duplex_clear(client->tunnel);
    free(client->tunnel);
}
