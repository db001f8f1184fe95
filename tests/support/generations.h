/* SPDX-License-Identifier: ISC */
/* Configurations made ready for listeners and workers. A failed step fails the test. */
#ifndef SUPPORT_GENERATIONS_H
#define SUPPORT_GENERATIONS_H

#include "daemon/generation.h"
#include "daemon/listener.h"

/* What a start makes of a configuration, of which the caller keeps its reference, with this limit
 * of clients. */
struct generation *generation_of(struct config *config, unsigned max_clients);

/* The same for a reload. */
struct generation *generation_after(const struct generation *current, struct config *config);

/* Has listeners take up a configuration whose listeners all share one pool, without TLS. */
void generation_listen(struct listeners *listeners, const struct generation *generation,
                       struct pool *pool);

/* Only the first step of that: NULL with errno. */
struct listeners_change *generation_prepare(struct listeners *listeners,
                                            const struct generation *generation, struct pool *pool);

/* The first configuration of these listeners. */
void generation_listen_first(struct listeners *listeners, struct config *config, struct pool *pool,
                             unsigned max_clients);

#endif
