/* Bytes in both directions, until both have ended. */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "session_internal.h"

/* How long a client may still send what nobody wants any more. */
#define SINK_TIME (5 * USEC_PER_SEC)

/* Moves one direction and keeps the books. */
static enum relay_result move(struct session *session, struct relay *relay, struct stream *from,
                              struct stream *to, uint64_t *bytes)
{
    uint64_t before = relay->moved;
    const struct service *service = session->service;
    enum relay_result result = relay_move(relay, from, to, service->scratch, service->pipes);
    if (relay->moved != before) {
        *bytes += relay->moved - before;
        session->moved_at = loop_now(service->loop);
    }
    return result;
}

/* A direction that cannot go on, as the end of the session; SESSION_END_COUNT when it can. */
static enum session_end broken(enum relay_result result, enum session_end read_failed,
                               enum session_end write_failed)
{
    switch (result) {
    case RELAY_READ_FAILED:
        return read_failed;
    case RELAY_WRITE_FAILED:
        return write_failed;
    case RELAY_NO_MEMORY:
        return SESSION_ERROR;
    case RELAY_BLOCKED:
    case RELAY_MORE:
    case RELAY_ENDED:
        break;
    }
    return SESSION_END_COUNT;
}

/* An error of a stream that is not read at the moment, for its EOF came already or the other side
 * is full, would not be met otherwise. */
static bool unread_error(const struct relay *relay, struct stream *from, const struct stream *to)
{
    return from->broken && (relay->from_ended || !to->writable) && stream_error(from) != 0;
}

/* The client has ended first. Fit for reuse: back to the pool. Else it is a half-close, which is
 * passed on. True when the session is over. */
static bool client_ended(struct session *session, const struct duplex *duplex, bool may_reuse)
{
    if (may_reuse && !relay_keeps(&duplex->down) && opaque_at_rest(&duplex->opaque) &&
        pool_offer(&session->allocation)) {
        session_finish(session, SESSION_COMPLETE);
        return true;
    }
    stream_end_write(session->allocation.stream);
    session->moved_at = loop_now(session->service->loop);
    session_sent(session);
    session_set_state(session, SESSION_DRAINING);
    return false;
}

static void after_moving(struct session *session, const struct duplex *duplex, bool may_reuse,
                         enum relay_result up, enum relay_result down, uint64_t moved)
{
    if (session->state == SESSION_RELAYING && down == RELAY_ENDED) {
        stream_end_write(&session->client);
        session_set_state(session, SESSION_DRAINING);
    }
    if (session->state == SESSION_RELAYING && up == RELAY_ENDED &&
        client_ended(session, duplex, may_reuse))
        return;
    if (up == RELAY_ENDED && down == RELAY_ENDED) {
        pool_discard(&session->allocation, DISCARD_UPSTREAM_CLOSED, false);
        session_finish(session, SESSION_COMPLETE);
    } else if (session_start_timer(session) < 0) {
        session_finish(session, SESSION_ERROR);
    } else {
        session_pause(session, moved, up == RELAY_MORE || down == RELAY_MORE);
    }
}

/* The upstream's bytes are moved first: those that stand there now were sent before the upstream
 * can have seen the client's bytes of this turn, so they are no answer to them. */
void duplex_work(struct session *session, struct duplex *duplex, bool may_reuse)
{
    struct stream *client = &session->client;
    struct stream *upstream = session->allocation.stream;
    struct access *access = &session->access;

    uint64_t before = duplex->down.taken, all_before = before + duplex->up.taken;
    enum relay_result down = move(session, &duplex->down, upstream, client, &access->bytes_down);
    /* An end of the client's that stands there before these bytes are its: it has not seen them, so
     * it is a half-close and no goodbye. */
    bool answering = duplex->down.taken != before;
    if (answering)
        opaque_upstream_sent(&duplex->opaque);
    before = duplex->up.moved; /* its last word is what was written last, not what was read */
    enum relay_result up = move(session, &duplex->up, client, upstream, &access->bytes_up);
    if (duplex->up.moved != before) {
        opaque_client_sent(&duplex->opaque);
        session_sent(session);
    }
    if (up == RELAY_WRITE_FAILED && down == RELAY_ENDED) {
        /* The upstream has said all, and hears no more. A reset could cost the client the end. */
        duplex->up.sink = true;
        session->limit_at = loop_now(session->service->loop) + SINK_TIME;
        up = RELAY_MORE;
    }

    enum session_end end = SESSION_END_COUNT;
    if (!relay_keeps(&duplex->down) && unread_error(&duplex->down, upstream, client))
        end = SESSION_UPSTREAM_RESET;
    else if (unread_error(&duplex->up, client, upstream))
        end = SESSION_CLIENT_RESET;
    if (end == SESSION_END_COUNT)
        end = broken(down, SESSION_UPSTREAM_RESET, SESSION_CLIENT_RESET);
    if (end == SESSION_END_COUNT)
        end = broken(up, SESSION_CLIENT_RESET, SESSION_UPSTREAM_RESET);
    if (end == SESSION_UPSTREAM_RESET && *stream_failure(upstream) != '\0')
        log_warning("listener=%s upstream=%s function=tls error=\"%s\"",
                    session->service->config->name, session->service->upstream,
                    stream_failure(upstream));
    if (end != SESSION_END_COUNT)
        session_finish(session, end);
    else
        after_moving(session, duplex, may_reuse && !answering, up, down,
                     duplex->down.taken + duplex->up.taken - all_before);
}

void duplex_unacked(struct session *session)
{
    log_warning("listener=%s upstream=%s function=send errno=%d error=\"%s: not acknowledged\"",
                session->service->config->name, session->service->upstream, ETIMEDOUT,
                strerror(ETIMEDOUT));
    pool_discard(&session->allocation, DISCARD_UNACKED, true);
    session_finish(session, SESSION_UPSTREAM_RESET);
}

void duplex_clear(struct duplex *duplex)
{
    relay_clear(&duplex->up);
    relay_clear(&duplex->down);
}
