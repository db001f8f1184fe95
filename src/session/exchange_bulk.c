/* SPDX-License-Identifier: ISC */
/* Large payload of known length: moved by a relay, without being parsed. */
#include "session/exchange.h"

/* Less than that is moved like a small body. */
#define BULK_MIN (256 * 1024)

/* The last bytes of every body are read in the same way, which detects what follows them. */
#define TAIL (64 * 1024)

bool exchange_is_bulk(const struct relay *relay, uint64_t rest)
{
    if (relay->limit == 0)
        return rest >= TAIL + BULK_MIN;
    return relay->taken < relay->limit;
}

enum relay_result exchange_move(struct client *client, const struct exchange_bulk *bulk)
{
    const struct session_worker *worker = &client->session.context->worker;
    struct relay *relay = bulk->relay;
    uint64_t before = relay->taken;
    if (exchange_own_buffers(client) < 0)
        return RELAY_NO_MEMORY;
    if (relay->limit == 0) {
        relay->limit = bulk->rest - TAIL;
        relay->run_length = RELAY_BULK; /* no need to wait and see */
    }
    enum relay_result result =
        relay_move(relay, bulk->from, bulk->to, worker->scratch, worker->pipes);
    if (relay->taken != before)
        exchange_took(client, relay->taken - before);
    return result;
}

enum step exchange_after_bulk(const struct relay *relay, enum relay_result result)
{
    if (result == RELAY_MORE)
        return STEP_YIELD;
    return relay->taken == relay->limit ? STEP_AGAIN : STEP_BLOCKED;
}
