/* SPDX-License-Identifier: ISC */
/* Bytes in both directions, until both have ended. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "session/protocol.h"

/* How long a client may still send what will be discarded. */
#define SINK_TIME (5 * USEC_PER_SEC)

/* How often a client that is to be reset is checked: has it received everything? */
#define DELIVERY_CHECK (USEC_PER_SEC / 5)

/* Moves one direction and updates the counters. */
static enum relay_result move(struct session *session, struct relay *relay, struct stream *from,
                              struct stream *to, uint64_t *bytes)
{
    uint64_t before = relay->moved;
    const struct listener_context *context = session->context;
    enum relay_result result =
        relay_move(relay, from, to, context->worker.scratch, context->worker.pipes);
    if (relay->moved != before) {
        *bytes += relay->moved - before;
        session->moved_at = loop_now(context->worker.loop);
    }
    return result;
}

/* How a direction that cannot continue ends the session; SESSION_END_COUNT if it can. */
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

/* A client's error does not show by reading if its EOF was read, or if the upstream takes
 * nothing. */
static bool client_is_broken(const struct duplex *duplex, struct stream *client,
                             const struct stream *upstream)
{
    return client->broken && (duplex->up.from_ended || !upstream->writable) &&
           stream_error(client) != 0;
}

/* The upstream receives no more. What it has sent is still for the client, and a reset could cost
 * the client the end of it. The reason is reported once, to the write or to the read: EPIPE tells
 * nothing new, except for an orderly end that is still to be read. */
static void stop_sending(struct session *session, struct duplex *duplex, int error)
{
    duplex->up.sink = true;
    duplex->down.from_broken = error != EPIPE && !duplex->down.from_ended;
    session->allocation.stream->readable = true;
}

/* The connection is gone, and not in order. The client is to see a reset, but not before it has
 * received what came: until then the session continues without a connection. */
static void deliver(struct session *session, struct duplex *duplex)
{
    usec_t now = loop_now(session->context->worker.loop);
    usec_t idle_timeout = session->context->config->idle_timeout;
    uint64_t before = duplex->down.moved;
    enum relay_result flushed = relay_flush(&duplex->down, &session->client);
    if (duplex->down.moved != before)
        session->moved_at = now;
    session->access.bytes_down += duplex->down.moved - before;
    bool over = idle_timeout > 0 && session->moved_at + idle_timeout <= now;
    bool gone = flushed == RELAY_WRITE_FAILED ||
                (session->client.broken && stream_error(&session->client) != 0);
    bool delivered = flushed == RELAY_ENDED && stream_is_delivered(&session->client);
    session->limit_at = now + DELIVERY_CHECK;
    if (over || gone || delivered || session_start_timer(session) < 0)
        session_finish(session, SESSION_UPSTREAM_RESET);
    else
        session_pause(session, 0, false);
}

static void upstream_is_gone(struct session *session, struct duplex *duplex,
                             enum pool_discard reason)
{
    pool_discard(&session->allocation, reason, true);
    if (session->state == SESSION_RELAYING)
        session_set_state(session, SESSION_DRAINING);
    deliver(session, duplex);
}

static void upstream_broke(struct session *session, struct duplex *duplex)
{
    const char *tls = stream_failure(session->allocation.stream);
    const struct repeat_key key = {.place = "connection broken: ", .function = "tls", .text = tls};
    if (*tls != '\0' && session_admit(session, LOG_LEVEL_WARNING, &key))
        session_report(session, LOG_LEVEL_WARNING, &key, "function=tls errno=0 error=\"%s\"", tls);
    upstream_is_gone(session, duplex, DISCARD_UPSTREAM_ERROR);
}

void duplex_unacked(struct session *session, struct duplex *duplex)
{
    char text[SESSION_UNACKED_MAX];
    const struct repeat_key key = {.place = "connection broken: ",
                                   .function = "send",
                                   .number = ETIMEDOUT,
                                   .text = session_unacked_text(session, text)};
    if (session_admit(session, LOG_LEVEL_WARNING, &key))
        session_report(session, LOG_LEVEL_WARNING, &key, "function=send errno=%d error=\"%s\"",
                       key.number, text);
    upstream_is_gone(session, duplex, DISCARD_UNACKED);
}

void duplex_timed_out(struct session *session, struct duplex *duplex)
{
    if (!pool_is_leased(&session->allocation)) {
        deliver(session, duplex);
    } else if (duplex->up.sink && duplex->down.from_ended) {
        /* The client has not ended, but may not have received everything either: no reset. */
        session_log(session, SESSION_IDLE_TIMEOUT);
        pool_discard(&session->allocation, DISCARD_IDLE_TIMEOUT, true);
        session_finish(session, SESSION_COMPLETE);
    } else {
        session_finish(session, SESSION_IDLE_TIMEOUT);
    }
}

/* The client has ended first. If the connection is fit for reuse it is released. Otherwise this is
 * a half-close, which is passed on. True when the session is over. */
static bool client_ended(struct session *session, const struct duplex *duplex, bool may_reuse)
{
    if (may_reuse && !relay_keeps(&duplex->down) && quiet_at_rest(&duplex->quiet) &&
        pool_release(&session->allocation, RELEASE_IF_QUIET)) {
        session_finish(session, SESSION_COMPLETE);
        return true;
    }
    stream_end_write(session->allocation.stream);
    session->moved_at = loop_now(session->context->worker.loop);
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

/* How the session ends after moving; SESSION_END_COUNT: it continues. */
static enum session_end end_after(struct session *session, const struct duplex *duplex,
                                  enum relay_result up, enum relay_result down)
{
    enum session_end end = SESSION_END_COUNT;
    if (client_is_broken(duplex, &session->client, session->allocation.stream))
        end = SESSION_CLIENT_RESET;
    if (end == SESSION_END_COUNT && down == RELAY_ENDED && duplex->down.from_broken)
        end = SESSION_UPSTREAM_RESET;
    if (end == SESSION_END_COUNT)
        end = broken(down, SESSION_UPSTREAM_RESET, SESSION_CLIENT_RESET);
    if (end == SESSION_END_COUNT)
        end = broken(up, SESSION_CLIENT_RESET, SESSION_UPSTREAM_RESET);
    return end;
}

/* The upstream's bytes are moved first: those that are here now were sent before the upstream can
 * have seen the client's bytes of this iteration, so they are not a response to them. */
void duplex_work(struct session *session, struct duplex *duplex, bool may_reuse)
{
    struct stream *client = &session->client;
    struct stream *upstream = session->allocation.stream;
    struct access *access = &session->access;
    if (!pool_is_leased(&session->allocation)) {
        deliver(session, duplex);
        return;
    }

    uint64_t before = duplex->down.taken, all_before = before + duplex->up.taken;
    enum relay_result down = move(session, &duplex->down, upstream, client, &access->bytes_down);
    /* If the client's end is here before these bytes are, the client has not seen them: it is a
     * half-close, and not the end of the conversation. */
    bool responding = duplex->down.taken != before;
    if (responding)
        quiet_upstream_sent(&duplex->quiet);
    before = duplex->up.moved; /* its last action was the last write, not the last read */
    enum relay_result up = move(session, &duplex->up, client, upstream, &access->bytes_up);
    if (up == RELAY_WRITE_FAILED) {
        stop_sending(session, duplex, errno);
        up = RELAY_MORE;
    }
    if (duplex->up.moved != before) {
        quiet_client_sent(&duplex->quiet);
        session_sent(session);
    }
    if (down == RELAY_ENDED && upstream->broken && stream_error(upstream) != 0)
        stop_sending(session, duplex, EPIPE); /* its end was read before */
    if (down == RELAY_ENDED && duplex->up.sink && session->limit_at == 0)
        session->limit_at = loop_now(session->context->worker.loop) + SINK_TIME;

    enum session_end end = end_after(session, duplex, up, down);
    if (end == SESSION_UPSTREAM_RESET)
        upstream_broke(session, duplex);
    else if (end != SESSION_END_COUNT)
        session_finish(session, end);
    else
        after_moving(session, duplex, may_reuse && !responding, up, down,
                     duplex->down.taken + duplex->up.taken - all_before);
}

void duplex_clear(struct duplex *duplex)
{
    relay_clear(&duplex->up);
    relay_clear(&duplex->down);
}
