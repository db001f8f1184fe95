/* SPDX-License-Identifier: ISC */
/* The names of pools, listeners and their upstreams in labels and in JSON. Pure. */
#ifndef KAPROXY_NAMES_H
#define KAPROXY_NAMES_H

#include "admin/snapshot.h"
#include "admin/subjects.h"
#include "config/config.h"

/* "default" for the default pool. */
const char *names_of_pool(const struct config_pool *pool);

/* "http", "redis", "memcached", "opaque": how the bytes are interpreted; TLS shows in the
 * upstream's scheme. */
const char *names_of_protocol(const struct config_listener *listener);

/* The host that serves a listener's clients; NULL: no block is of it. */
const struct subject *names_find_host(const struct subjects *subjects, const struct config *config,
                                      const struct config_listener *listener);

/* By name; NULL: no such listener. */
const struct config_pool *names_find_pool(const struct config *config, const char *name);
const struct config_listener *names_find_listener(const struct config *config, const char *name);

/* What a snapshot (NULL: none) has on a host, or on a listener; NULL: nothing. */
const struct snapshot_host *names_host_row(const struct snapshot *snapshot,
                                           const struct subjects *subjects,
                                           const struct subject *host);
const struct snapshot_listener *names_listener_row(const struct snapshot *snapshot,
                                                   const char *name);

#endif
