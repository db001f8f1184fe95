/* SPDX-License-Identifier: ISC */
/* The table of protocols. */
#include "daemon/protocols.h"

#include "session/http/http.h"
#include "session/memcached/mc.h"
#include "session/opaque/opaque.h"
#include "session/redis/redis.h"

const struct protocol *protocols_find(enum protocol_id id)
{
    static const struct protocol *const protocols[PROTOCOL_COUNT] = {
        [PROTOCOL_HTTP] = &http_protocol,
        [PROTOCOL_MEMCACHED] = &mc_protocol,
        [PROTOCOL_OPAQUE] = &opaque_protocol,
        [PROTOCOL_REDIS] = &redis_protocol,
    };
    return protocols[id];
}
