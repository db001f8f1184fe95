/* SPDX-License-Identifier: ISC */
/* Opaque bytes do not show where a message ends, so the operator chooses (`reuse`), and with
 * `quiet` the order in which bytes moved decides whether a connection is fit for reuse. */
#ifndef KAPROXY_QUIET_H
#define KAPROXY_QUIET_H

#include <stdbool.h>

/* Which side moved bytes last in this session. */
enum quiet_last { QUIET_SILENT, QUIET_CLIENT, QUIET_UPSTREAM };

struct quiet {
    enum quiet_last last;
    bool client_spoke;
};

static inline void quiet_client_sent(struct quiet *quiet)
{
    quiet->last = QUIET_CLIENT;
    quiet->client_spoke = true;
}

static inline void quiet_upstream_sent(struct quiet *quiet)
{
    quiet->last = QUIET_UPSTREAM;
}

/* The client has ended in order, and nothing is buffered in either direction. Is the conversation
 * at rest? Yes if the upstream sent something after the client's last byte, or neither sent
 * anything. A greeting that the client did not respond to does not qualify: the connection is
 * spent, and more of it may be under way. */
static inline bool quiet_at_rest(const struct quiet *quiet)
{
    if (quiet->last == QUIET_SILENT)
        return true;
    return quiet->last == QUIET_UPSTREAM && quiet->client_spoke;
}

#endif
