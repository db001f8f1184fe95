/* SPDX-License-Identifier: ISC */
/* The TLS clients of a configuration: one for each distinct upstream of its listeners, by value
 * (endpoint_compare). Their sessions, kept for resumption, and their counters belong to the
 * worker's thread; the configuration has neither. */
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

/* Creates them from the same files that the configuration was checked with; those that `current`
 * (NULL: none), of an earlier configuration, also has are reused. The config is borrowed. 0; -1
 * with findings when they cannot be loaded any more, or when the files have changed since. In
 * either case clear. */
MUST_CHECK int tls_clients_init(struct tls_clients *clients, const struct config *config,
                                const struct tls_clients *current, struct config_errors *findings);

/* Harmless when all is zero. */
void tls_clients_clear(struct tls_clients *clients);

/* TLS to this upstream of the configuration; NULL: it has none. */
struct tls_client *tls_clients_find(const struct tls_clients *clients,
                                    const struct endpoint *endpoint);

#endif
