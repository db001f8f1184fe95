/* SPDX-License-Identifier: ISC */
/* The TLS clients of a configuration: one for each of the upstreams of its listeners that differ,
 * by value (endpoint_compare). With the worker's thread are their sessions, which are kept for
 * resumption, and their counters; the configuration has neither. */
#ifndef KAPROXY_TLS_CLIENTS_H
#define KAPROXY_TLS_CLIENTS_H

#include <stddef.h>

#include "base/util.h"
#include "config/config.h"
#include "config/config_errors.h"
#include "tls/tls.h"

struct tls_clients {
    struct tls_clients_entry {
        const struct endpoint *endpoint;
        struct tls_client *client;
    } * list;
    size_t count;
};

/* Makes them, of the same files as the configuration was checked with; those that are in `current`
 * (NULL: none is), of a configuration before it, are the same here. The config is borrowed. 0; -1
 * with findings when they cannot be loaded any more, or when what they hold has changed since. In
 * either case clear. */
MUST_CHECK int tls_clients_init(struct tls_clients *clients, const struct config *config,
                                const struct tls_clients *current, struct config_errors *findings);

/* Harmless when all is zero. */
void tls_clients_clear(struct tls_clients *clients);

/* How TLS is spoken to this upstream of the configuration; NULL: it is not. */
struct tls_client *tls_clients_find(const struct tls_clients *clients,
                                    const struct endpoint *endpoint);

#endif
