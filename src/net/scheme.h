/* SPDX-License-Identifier: ISC */
/* The properties of the schemes, as data. Nothing else knows a scheme by name: a new one is a row
 * here, and a protocol in daemon/protocols.c if it needs one of its own. */
#ifndef KAPROXY_SCHEME_H
#define KAPROXY_SCHEME_H

#include <stdbool.h>
#include <stdint.h>

/* What the bytes on its connections mean. */
enum protocol_id {
    PROTOCOL_HTTP,
    PROTOCOL_OPAQUE,
    PROTOCOL_REDIS,
    PROTOCOL_MEMCACHED,
    PROTOCOL_COUNT
};

/* When a connection is fit for reuse. */
enum reuse {
    REUSE_FRAMED, /* when the protocol's framing proves it */
    REUSE_QUIET,  /* when the client closed first, in order, and the upstream sent last */
    REUSE_NEVER,
    REUSE_UNSET /* not set */
};
#define REUSE_SET(reuse) (1U << (reuse))

struct scheme {
    const char *name;
    enum protocol_id protocol;
    bool tls;
    bool may_have_name;       /* scheme+NAME has connections of its own */
    uint16_t port;            /* the default; 0: it must be given */
    const char *alpn;         /* the protocol that TLS offers (RFC 7301); NULL: none */
    unsigned reuse;           /* REUSE_SET of the allowed ones */
    enum reuse reuse_default; /* the default; REUSE_UNSET: it must be given */
};

/* For messages; in the order of the table. */
#define SCHEME_NAMES                                                                               \
    "http, https, redis, rediss, memcached, memcacheds, tcp, tls, tcp+NAME, tls+NAME"

/* The properties of a scheme in lower case, which may have its +NAME; NULL: unknown. */
const struct scheme *scheme_find(const char *text);

#endif
