/* SPDX-License-Identifier: ISC */
/* Names, and their subjects. */
#include "admin/names.h"

#include <string.h>

const char *names_of_pool(const struct config_pool *pool)
{
    return pool->name[0] == '\0' ? "default" : pool->name;
}

const char *names_of_protocol(const struct config_listener *listener)
{
    static const char *const names[PROTOCOL_COUNT] = {[PROTOCOL_HTTP] = "http",
                                                      [PROTOCOL_OPAQUE] = "opaque",
                                                      [PROTOCOL_REDIS] = "redis",
                                                      [PROTOCOL_MEMCACHED] = "memcached"};
    return names[endpoint_scheme(&listener->upstream)->protocol];
}

static bool is_of(const char *pool, const char *upstream, const struct metric_labels *labels)
{
    return labels->pool != NULL && labels->upstream != NULL && strcmp(pool, labels->pool) == 0 &&
           strcmp(upstream, labels->upstream) == 0;
}

/* Hosts that differ by their TLS settings alone are identified by the first listener with these
 * settings. */
static bool has_tls_of(const struct metric_labels *labels, const struct config *config,
                       const struct config_listener *listener)
{
    const struct config_listener *first =
        labels->tls != NULL ? names_find_listener(config, labels->tls) : NULL;
    return first == NULL || endpoint_compare(&first->upstream, &listener->upstream) == 0;
}

const struct subject *names_find_host(const struct subjects *subjects, const struct config *config,
                                      const struct config_listener *listener)
{
    const char *pool = names_of_pool(&config->pools[listener->pool]);
    char upstream[ENDPOINT_TEXT_MAX];
    endpoint_format(&listener->upstream, upstream);
    for (size_t i = 0; i < subjects->count; i++) {
        const struct subject *subject = &subjects->list[i];
        if (subject->kind == SUBJECT_HOST && is_of(pool, upstream, &subject->labels) &&
            has_tls_of(&subject->labels, config, listener))
            return subject;
    }
    return NULL;
}

const struct config_pool *names_find_pool(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->pool_count; i++) {
        if (strcmp(names_of_pool(&config->pools[i]), name) == 0)
            return &config->pools[i];
    }
    return NULL;
}

const struct config_listener *names_find_listener(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        if (strcmp(config->listeners[i].name, name) == 0)
            return &config->listeners[i];
    }
    return NULL;
}

/* Where several have the same labels, both sides have them in the same order. */
const struct snapshot_host *names_host_row(const struct snapshot *snapshot,
                                           const struct subjects *subjects,
                                           const struct subject *host)
{
    size_t before = 0;
    for (const struct subject *other = subjects->list; other != host; other++)
        before += is_of(host->labels.pool, host->labels.upstream, &other->labels);
    for (size_t i = 0; snapshot != NULL && i < snapshot->host_count; i++) {
        const struct snapshot_host *row = &snapshot->hosts[i];
        if (is_of(row->pool, row->upstream, &host->labels) && before-- == 0)
            return row;
    }
    return NULL;
}

const struct snapshot_listener *names_listener_row(const struct snapshot *snapshot,
                                                   const char *name)
{
    for (size_t i = 0; snapshot != NULL && i < snapshot->listener_count; i++) {
        if (strcmp(snapshot->listeners[i].name, name) == 0)
            return &snapshot->listeners[i];
    }
    return NULL;
}
