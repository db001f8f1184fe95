/* A batch that cannot go on: errors of ours in the client's protocol, or a cut. */
#include <errno.h>
#include <stdio.h>

#include "session/batch.h"

enum step batch_answered(struct client *client, bool closes, enum session_end end)
{
    if (closes || client->last || client->affinity)
        return exchange_end(client, end);
    session_set_state(&client->session, SESSION_DRAINING);
    return STEP_AGAIN;
}

enum step batch_fail(struct client *client, const char *text, enum session_end end,
                     enum pool_discard reason)
{
    bool cuts = batch_of(client)->reply_begun, closes = false;
    if (!cuts && batch_protocol_of(client)->answer_rest(client, text, &closes) < 0)
        return exchange_finish(client, SESSION_ERROR);
    if (exchange_is_leased(client))
        pool_discard(&client->session.allocation, reason, true);
    buffer_clear(&client->exchange->response_in);
    return cuts ? exchange_cut(client, end) : batch_answered(client, closes, end);
}

enum step batch_fail_connection(struct client *client, const struct failure *failure)
{
    char text[sizeof(failure->text) + 32];
    session_log_failure(&client->session);
    snprintf(text, sizeof(text), "%s: %s", failure->function, failure->text);
    return batch_fail(client, text, SESSION_ALLOC_FAILED, DISCARD_NOT_REUSABLE);
}

const char *batch_no_tunnel_text(const struct client *client, char text[BATCH_NO_TUNNEL_MAX])
{
    snprintf(text, BATCH_NO_TUNNEL_MAX,
             "clients hold as many connections as they may (max_tunnels = %u)",
             pool_get_limits(client->session.context->pool)->max_tunnels);
    return text;
}

enum step batch_fail_no_tunnel(struct client *client)
{
    struct session *session = &client->session;
    struct failure failure = {.function = "allocate", .number = EAGAIN};
    char text[BATCH_NO_TUNNEL_MAX];
    snprintf(failure.text, sizeof(failure.text), "%s", batch_no_tunnel_text(client, text));
    if (exchange_is_leased(client) && session->context->config->reuse != REUSE_NEVER)
        pool_release(&session->allocation, RELEASE_PEEK);
    session_set_failure(session, &failure);
    client->last = true;
    return batch_fail_connection(client, &failure);
}

enum step batch_upstream_failed(struct client *client, enum pool_discard reason)
{
    const char *tls = stream_failure(client->session.allocation.stream);
    char text[256 + SESSION_UNACKED_MAX];
    enum session_end end = SESSION_UPSTREAM_RESET;
    if (tls[0] != '\0') {
        snprintf(text, sizeof(text), "tls: %s", tls);
    } else if (reason == DISCARD_UPSTREAM_CLOSED) {
        snprintf(text, sizeof(text), "read: the upstream closed the connection without a reply");
        end = SESSION_UPSTREAM_CLOSED;
    } else if (reason == DISCARD_UNREAD_DATA) {
        snprintf(text, sizeof(text), "read: the upstream sent something before the command");
        end = SESSION_BAD_RESPONSE;
    } else if (reason == DISCARD_UNACKED) {
        char unacked[SESSION_UNACKED_MAX];
        snprintf(text, sizeof(text), "write: %s", session_unacked_text(&client->session, unacked));
    } else {
        snprintf(text, sizeof(text), "read: the upstream reset the connection without a reply");
    }
    return batch_fail(client, text, end, reason);
}

enum step batch_unacked(struct client *client)
{
    if (exchange_response_started(client->exchange))
        return batch_upstream_failed(client, DISCARD_UNACKED);
    return exchange_retry(client, DISCARD_UNACKED);
}

static enum step upstream_is_late(struct client *client)
{
    const struct config_listener *config = client->session.context->config;
    char text[128], length[LOG_LIMIT_MAX];
    snprintf(text, sizeof(text), "read: the upstream did not reply within response_timeout=%s",
             log_limit(length, config->response_timeout));
    return batch_fail(client, text, SESSION_IDLE_TIMEOUT, DISCARD_IDLE_TIMEOUT);
}

/* A client between two batches ends in order; one that stalls in a command, or does not take its
 * replies, is cut (F1). */
enum step batch_time_is_over(struct client *client)
{
    const struct batch *batch = batch_of(client);
    if (batch == NULL) {
        if (exchange_is_leased(client)) /* affinity_timeout (R5) */
            pool_discard(&client->session.allocation, DISCARD_IDLE_TIMEOUT, true);
        return exchange_end_client(client);
    }
    bool awaits = client->session.state == SESSION_RELAYING && !exchange_has_down(client) &&
                  !batch->streaming;
    return awaits ? upstream_is_late(client) : exchange_finish(client, SESSION_IDLE_TIMEOUT);
}
