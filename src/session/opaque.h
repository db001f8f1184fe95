/* Opaque bytes: nothing tells where a message ends, so the operator chooses (`reuse`), and with
 * `quiet` the order in which bytes moved decides whether a connection is fit for reuse. */
#ifndef KAPROXY_OPAQUE_H
#define KAPROXY_OPAQUE_H

#include <stdbool.h>

/* Who moved bytes last in this session. */
enum opaque_turn { OPAQUE_SILENT, OPAQUE_CLIENT, OPAQUE_UPSTREAM };

struct opaque {
    enum opaque_turn last;
    bool client_spoke;
};

static inline void opaque_client_sent(struct opaque *opaque)
{
    opaque->last = OPAQUE_CLIENT;
    opaque->client_spoke = true;
}

static inline void opaque_upstream_sent(struct opaque *opaque)
{
    opaque->last = OPAQUE_UPSTREAM;
}

/* The client has ended in order, and nothing is buffered in either direction. Is the conversation
 * at rest? Yes when the upstream had the last word after the client's last byte, or nobody spoke.
 * A greeting that the client did not answer to is no reason: the connection is used up, and more
 * of it may be on its way. */
static inline bool opaque_at_rest(const struct opaque *opaque)
{
    if (opaque->last == OPAQUE_SILENT)
        return true;
    return opaque->last == OPAQUE_UPSTREAM && opaque->client_spoke;
}

#endif
