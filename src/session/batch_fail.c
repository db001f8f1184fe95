/* SPDX-License-Identifier: ISC */
/* A batch that cannot continue: our own errors in the client's protocol, or truncation. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "session/batch.h"

enum step batch_answered(struct client *client, bool closes, enum session_end end)
{
    if (closes || client->last || client->affinity)
        return exchange_end(client, end);
    session_set_state(&client->session, SESSION_DRAINING);
    return STEP_AGAIN;
}

/* It is logged when it happens: the client may stay for long, and its line only has the last
 * one. */
void batch_note_failure(struct client *client, const struct failure *failure)
{
    struct session *session = &client->session;
    char error[2 * sizeof(failure->text)];
    const struct repeat_key key = {.place =
                                       batch_of(client)->reply_begun ? "cut short: " : "answered: ",
                                   .function = failure->function,
                                   .number = failure->number,
                                   .text = failure->text};
    session_set_failure(session, failure);
    session->access.failure_logged = true;
    if (!session_admit(session, LOG_LEVEL_WARNING, &key))
        return;
    log_quote(error, sizeof(error), failure->text, strlen(failure->text));
    session_report(session, LOG_LEVEL_WARNING, &key, "function=%s errno=%d error=%s",
                   failure->function, failure->number, error);
}

/* Answers with it, and ends the lease. */
static enum step answer(struct client *client, const struct failure *failure, enum session_end end,
                        enum pool_discard reason)
{
    bool cuts = batch_of(client)->reply_begun, closes = false;
    char text[sizeof(failure->text) + 32];
    snprintf(text, sizeof(text), "%s: %s", failure->function, failure->text);
    if (!cuts && batch_protocol_of(client)->answer_rest(client, text, &closes) < 0)
        return exchange_finish(client, SESSION_ERROR);
    if (exchange_is_leased(client))
        pool_discard(&client->session.allocation, reason, true);
    buffer_clear(&client->exchange->response_in);
    return cuts ? exchange_cut(client, end) : batch_answered(client, closes, end);
}

enum step batch_fail(struct client *client, const struct failure *failure, enum session_end end,
                     enum pool_discard reason)
{
    batch_note_failure(client, failure);
    return answer(client, failure, end, reason);
}

enum step batch_fail_malformed(struct client *client)
{
    static const struct failure failure = {.function = "read",
                                           .number = EPROTO,
                                           .text =
                                               "the upstream sent something that is not a reply"};
    return batch_fail(client, &failure, SESSION_BAD_RESPONSE, DISCARD_PROTOCOL_ERROR);
}

enum step batch_fail_connection(struct client *client, const struct failure *failure)
{
    session_log_failure(&client->session);
    return answer(client, failure, SESSION_ALLOC_FAILED, DISCARD_NOT_REUSABLE);
}

void batch_no_tunnel(struct client *client, struct failure *failure)
{
    *failure = (struct failure){.function = "allocate", .number = EAGAIN};
    snprintf(failure->text, sizeof(failure->text),
             "clients hold as many connections as allowed (max_tunnels = %u)",
             pool_get_limits(client->session.context->pool)->max_tunnels);
    session_set_failure(&client->session, failure);
    session_log_failure(&client->session);
    client->end = SESSION_ALLOC_FAILED;
}

enum step batch_fail_no_tunnel(struct client *client)
{
    struct session *session = &client->session;
    struct failure failure;
    batch_no_tunnel(client, &failure);
    if (exchange_is_leased(client) && client->exchange->sent_at == 0 && !client->affinity &&
        session->context->config->reuse != REUSE_NEVER)
        pool_release(&session->allocation, RELEASE_PEEK);
    client->last = true;
    return answer(client, &failure, SESSION_ALLOC_FAILED, DISCARD_NOT_REUSABLE);
}

enum step batch_upstream_failed(struct client *client, enum pool_discard reason)
{
    const char *tls = stream_failure(client->session.allocation.stream);
    struct failure failure = {.function = "read", .number = ECONNRESET};
    char unacked[SESSION_UNACKED_MAX];
    const char *text = "the upstream reset the connection without a reply";
    enum session_end end = SESSION_UPSTREAM_RESET;
    if (tls[0] != '\0') {
        failure.function = "tls";
        failure.number = EPROTO;
        text = tls;
    } else if (reason == DISCARD_UPSTREAM_CLOSED) {
        text = "the upstream closed the connection without a reply";
        end = SESSION_UPSTREAM_CLOSED;
    } else if (reason == DISCARD_UNREAD_DATA) {
        failure.number = EPROTO;
        text = "the upstream sent something before the command";
        end = SESSION_BAD_RESPONSE;
    } else if (reason == DISCARD_UNACKED) {
        failure.function = "write";
        failure.number = ETIMEDOUT;
        text = session_unacked_text(&client->session, unacked);
    }
    snprintf(failure.text, sizeof(failure.text), "%s", text);
    return batch_fail(client, &failure, end, reason);
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
    struct failure failure = {.function = "read", .number = ETIMEDOUT};
    char length[LOG_LIMIT_MAX];
    snprintf(failure.text, sizeof(failure.text),
             "the upstream did not reply within response_timeout=%s",
             log_limit(length, config->response_timeout));
    return batch_fail(client, &failure, SESSION_IDLE_TIMEOUT, DISCARD_IDLE_TIMEOUT);
}

enum step batch_left_waiting(struct client *client)
{
    pool_discard(&client->session.allocation, DISCARD_CLIENT_ABORT, true);
    return exchange_finish(client, SESSION_CLIENT_LEFT);
}

/* A client between two batches ends in order; one that stalls in a command, or does not read its
 * replies, is reset (F1). */
enum step batch_time_is_over(struct client *client)
{
    const struct batch *batch = batch_of(client);
    if (batch != NULL && batch->holds && client->session.client.hangup)
        return batch_left_waiting(client);
    if (batch == NULL) {
        if (exchange_is_leased(client)) /* affinity_timeout (R5) */
            pool_discard(&client->session.allocation, DISCARD_IDLE_TIMEOUT, true);
        return exchange_end_client(client);
    }
    bool awaits = client->session.state == SESSION_RELAYING && !exchange_has_down(client) &&
                  !batch->streaming;
    return awaits ? upstream_is_late(client) : exchange_finish(client, SESSION_IDLE_TIMEOUT);
}
