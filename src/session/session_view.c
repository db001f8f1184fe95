/* SPDX-License-Identifier: ISC */
/* What can be seen of sessions. */
#include "session/protocol.h"

const struct session *listener_context_next(const struct listener_context *context,
                                            const struct session *after)
{
    return after == NULL ? TAILQ_FIRST(&context->sessions) : TAILQ_NEXT(after, link);
}

usec_t session_age(const struct session *session)
{
    return loop_now(session->context->worker.loop) - session->accepted_at;
}

static uint64_t conn_number(const struct session *session)
{
    struct conn_info info;
    if (!pool_is_leased(&session->allocation))
        return 0;
    pool_describe(&session->allocation, &info);
    return info.number;
}

static bool waits_for_client(const struct session *session)
{
    const struct protocol *protocol = session->protocol;
    return session->state == SESSION_RELAYING && protocol->waits_for_client != NULL &&
           protocol->waits_for_client(session);
}

void session_view(const struct session *session, struct session_view *view)
{
    const struct access *access = &session->access;
    usec_t now = loop_now(session->context->worker.loop);
    bool waits = access->requested_at != 0;
    *view = (struct session_view){
        .state = session_state_name(session->state),
        .age = now - (access->open ? access->started : session->accepted_at),
        .quiet = now - session->moved_at,
        .waiting = waits ? now - access->requested_at : 0,
        .bytes_up = access->bytes_up,
        .bytes_down = access->bytes_down,
        .conn = conn_number(session),
        .waits_for_client = waits_for_client(session),
    };
    session_peer(session, view->client);
}
