/* Most of a large body of known length: moved by a relay, without a look at it. */
#include "session/http/http_internal.h"

/* Less than that is moved like a small body. */
#define BULK_MIN (256 * 1024)

/* The last bytes of every body are read in one way, which finds what stands behind them. */
#define TAIL (64 * 1024)

bool http_is_bulk(const struct http_bulk *bulk)
{
    const struct relay *relay = bulk->relay;
    if (relay->limit == 0)
        return http1_body_rest(bulk->body) >= TAIL + BULK_MIN;
    return relay->taken < relay->limit;
}

enum relay_result http_move_bulk(struct http_session *http, const struct http_bulk *bulk)
{
    const struct listener_context *context = http->session.context;
    struct relay *relay = bulk->relay;
    uint64_t before = relay->taken;
    if (http_keep(http) < 0)
        return RELAY_NO_MEMORY;
    if (relay->limit == 0) {
        relay->limit = http1_body_rest(bulk->body) - TAIL;
        relay->streak = RELAY_BULK; /* no need to wait and see */
    }
    enum relay_result result =
        relay_move(relay, bulk->from, bulk->to, context->worker.scratch, context->worker.pipes);
    http1_body_skip(bulk->body, relay->taken - before);
    if (relay->taken != before)
        http_took(http, relay->taken - before);
    return result;
}

enum step http_after_bulk(const struct relay *relay, enum relay_result result)
{
    if (result == RELAY_MORE)
        return STEP_YIELD;
    return relay->taken == relay->limit ? STEP_AGAIN : STEP_BLOCKED;
}
