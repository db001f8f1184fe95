/* SPDX-License-Identifier: ISC */
/* Sessions of opaque listeners: a connection for as long as the client stays. */
#include "session/opaque/opaque.h"

struct opaque_session {
    struct session session;
    struct duplex duplex;
    struct conn_info conn;
};

static struct opaque_session *opaque_of(struct session *session)
{
    return container_of(session, struct opaque_session, session);
}

static void opaque_start(struct session *session)
{
    session_open_access(session);
    session_request_connection(session, session->context->config->reuse == REUSE_NEVER);
}

/* While it waits, a client that left is not worth a connection: one that broke the connection, or
 * ended it before it sent anything. Bytes followed by EOF are a request that expects a response. */
static void check_waiting_client(struct session *session)
{
    enum stream_peek peek = stream_peek(&session->client);
    if (peek == PEEK_ERROR || peek == PEEK_EOF)
        session_finish(session, SESSION_CLIENT_LEFT);
    else if (peek == PEEK_DATA && session->client.hangup && stream_error(&session->client) != 0)
        session_finish(session, SESSION_CLIENT_LEFT);
}

static void opaque_run(struct session *session)
{
    if (session->state == SESSION_WAITING) {
        check_waiting_client(session);
        return;
    }
    bool may_reuse = session->context->config->reuse == REUSE_QUIET;
    duplex_work(session, &opaque_of(session)->duplex, may_reuse);
}

static void opaque_on_connection(struct session *session, const struct failure *failure)
{
    if (failure != NULL)
        session_finish(session, SESSION_ALLOC_FAILED);
    else if (session_watch_client(session) < 0)
        session_finish(session, SESSION_ERROR);
    else
        opaque_run(session);
}

static void opaque_on_timeout(struct session *session)
{
    if (session->state == SESSION_WAITING)
        session_finish(session, SESSION_IDLE_TIMEOUT);
    else
        duplex_timed_out(session, &opaque_of(session)->duplex);
}

static void opaque_on_unacked(struct session *session)
{
    duplex_unacked(session, &opaque_of(session)->duplex);
}

static struct conn_info *opaque_conn_info(struct session *session)
{
    return &opaque_of(session)->conn;
}

static void opaque_destroy(struct session *session)
{
    duplex_clear(&opaque_of(session)->duplex);
}

const struct protocol opaque_protocol = {
    .session_size = sizeof(struct opaque_session),
    .first_state = SESSION_WAITING,
    .start = opaque_start,
    .on_connection = opaque_on_connection,
    .run = opaque_run,
    .on_timeout = opaque_on_timeout,
    .on_unacked = opaque_on_unacked,
    .conn_info = opaque_conn_info,
    .destroy = opaque_destroy,
};
