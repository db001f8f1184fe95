/* SPDX-License-Identifier: ISC */
/* Makes configurations ready. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/generations.h"

static struct generation *make(struct config *config, const struct generation *current)
{
    struct config_errors findings;
    config_errors_init(&findings);
    struct generation *generation = generation_make(config_ref(config), current, NULL, &findings);
    config_errors_write(&findings, "test", stderr);
    config_errors_clear(&findings);
    assert_non_null(generation);
    return generation;
}

struct generation *generation_of(struct config *config, unsigned max_clients)
{
    struct generation *generation = make(config, NULL);
    generation->max_clients = max_clients;
    return generation;
}

struct generation *generation_after(const struct generation *current, struct config *config)
{
    return make(config, current);
}

struct listeners_change *generation_prepare(struct listeners *listeners,
                                            const struct generation *generation, struct pool *pool)
{
    const struct config *config = generation->config;
    struct bound_socket **sockets = generation->sockets;
    struct listener_plan *plans = calloc(config->listener_count, sizeof(*plans));
    if (plans == NULL)
        return NULL;
    for (size_t i = 0; i < config->listener_count; i++) {
        plans[i] = (struct listener_plan){.whole = generation->config,
                                          .config = &config->listeners[i],
                                          .pool = pool,
                                          .sockets = sockets,
                                          .unchanged = generation->unchanged[i]};
        sockets += config->listeners[i].addresses.count;
    }
    struct listeners_change *change = listeners_prepare(listeners, plans, config->listener_count);
    free(plans);
    return change;
}

void generation_listen(struct listeners *listeners, const struct generation *generation,
                       struct pool *pool)
{
    struct listeners_change *change = generation_prepare(listeners, generation, pool);
    assert_non_null(change);
    listeners_commit(listeners, change, generation->max_clients);
}

void generation_listen_first(struct listeners *listeners, struct config *config, struct pool *pool,
                             unsigned max_clients)
{
    struct generation *generation = generation_of(config, max_clients);
    generation_listen(listeners, generation, pool);
    generation_free(generation);
}
