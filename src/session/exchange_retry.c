/* SPDX-License-Identifier: ISC */
/* Sending a request again, on a connection that was never used before. */
#include "base/log.h"
#include "session/exchange.h"

/* May the request go to another connection? Yes if none of it was sent, or if repeating it is
 * harmless (RFC 9110 9.2.2) and the connection may have been closed just before it was used. */
bool exchange_may_retry(const struct client *client)
{
    const struct allocation *allocation = &client->session.allocation;
    const struct exchange *exchange = client->exchange;
    bool stale = allocation->reused || allocation->from_cache == FROM_IMMEDIATE;
    bool harmless = exchange->replayable && client->ops->is_idempotent(exchange);
    return stale && exchange->tries == 0 && !client->affinity &&
           (exchange->sent_at == 0 || harmless);
}

static void send_again(struct client *client, enum pool_discard reason)
{
    struct session *session = &client->session;
    struct exchange *exchange = client->exchange;
    pool_discard(&session->allocation, reason, reason == DISCARD_UNACKED);
    exchange->tries++;
    client->ops->sent_again(client);
    session_request_connection(session, true);
    exchange_set_up_stage(exchange, UP_QUEUED);
    exchange_set_down_stage(exchange, DOWN_NONE);
    exchange->up_sent = 0;
    exchange->sent_at = exchange->first_byte_at = 0;
}

enum step exchange_retry(struct client *client, enum pool_discard reason)
{
    if (!exchange_may_retry(client))
        return client->ops->upstream_failed(client, reason);
    send_again(client, reason);
    return STEP_AGAIN;
}

bool exchange_replay(struct client *client, const char *what)
{
    const struct session *session = &client->session;
    const struct repeat_key key = {.place = "sent again: ", .function = "", .text = what};
    if (!exchange_may_retry(client))
        return false;
    if (session_admit(session, LOG_LEVEL_NOTICE, &key))
        session_report(session, LOG_LEVEL_NOTICE, &key, "error=\"a used connection brought: %s\"",
                       what);
    send_again(client, DISCARD_PROTOCOL_ERROR);
    return true;
}
