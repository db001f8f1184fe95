/* SPDX-License-Identifier: ISC */
/* What pools, listeners and their upstreams are called in labels and in JSON. Pure. */
#ifndef KAPROXY_NAMES_H
#define KAPROXY_NAMES_H

#include "admin/snapshot.h"
#include "admin/subjects.h"
#include "config/config.h"

/* "default" for the default pool. */
const char *names_of_pool(const struct config_pool *pool);

/* "http", "redis", "memcached", "opaque": what the bytes mean; of TLS the upstream's scheme
 * tells. */
const char *names_of_protocol(const struct config_listener *listener);

/* The host that a listener's clients are served by; NULL: no block is of it. */
const struct subject *names_find_host(const struct subjects *subjects, const struct config *config,
                                      const struct config_listener *listener);

/* By name; NULL: there is none such. */
const struct config_pool *names_find_pool(const struct config *config, const char *name);
const struct config_listener *names_find_listener(const struct config *config, const char *name);

/* What a snapshot (NULL: there is none) says of a host, or of a listener; NULL: nothing. */
const struct snapshot_host *names_host_row(const struct snapshot *snapshot,
                                           const struct subjects *subjects,
                                           const struct subject *host);
const struct snapshot_listener *names_listener_row(const struct snapshot *snapshot,
                                                   const char *name);

#endif
