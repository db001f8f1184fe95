/* SPDX-License-Identifier: ISC */
/* What to listen on: a numeric address with its port, or a unix socket's path. Pure, except for the
 * names of interfaces. */
#ifndef KAPROXY_LISTEN_ADDRESS_H
#define KAPROXY_LISTEN_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/util.h"

struct listen_address {
    struct sockaddr_storage sa;
    socklen_t length;
    char *text; /* as written, owned */
};

/* Parses addr:port, [v6]:port or unix:/path from `length` bytes of text; the address then owns a
 * copy of them. 0, or -1 with *error pointing to a static sentence. */
MUST_CHECK int listen_address_parse(struct listen_address *address, const char *text, size_t length,
                                    const char **error);
void listen_address_clear(struct listen_address *address);

/* A copy with a text of its own. 0, or -1 with ENOMEM. */
MUST_CHECK int listen_address_copy(struct listen_address *copy,
                                   const struct listen_address *address);

/* Do both mean the same address, however they are written? */
bool listen_address_equals(const struct listen_address *a, const struct listen_address *b);

/* True if a socket listening on a leaves no room for one on b. */
bool listen_address_overlaps(const struct listen_address *a, const struct listen_address *b);

#endif
