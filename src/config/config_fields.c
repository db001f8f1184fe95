/* SPDX-License-Identifier: ISC */
/* Sets, formats and frees the fields of a section's struct, by the table of keys. */
#include "config/config_fields.h"

#include <stdlib.h>
#include <string.h>

void *config_fields(struct config *config, enum config_kind kind, size_t index)
{
    if (kind == SECTION_ADMIN)
        return &config->admin;
    if (kind == SECTION_POOL)
        return &config->pools[index];
    if (kind == SECTION_LISTENER)
        return &config->listeners[index];
    return config;
}

void *config_fields_at(void *fields, const struct config_key *key)
{
    return (char *)fields + key->offset;
}

const char *config_fields_format(const struct config *config, enum config_kind kind, size_t index,
                                 const struct config_key *key, char buffer[CONFIG_VALUE_MAX])
{
    const void *fields = config;

    if (kind == SECTION_ADMIN)
        fields = &config->admin;
    else if (kind == SECTION_POOL)
        fields = &config->pools[index];
    else if (kind == SECTION_LISTENER)
        fields = &config->listeners[index];
    return key->type->format((const char *)fields + key->offset, buffer);
}

const char *config_fields_name(const struct config *config, enum config_kind kind, size_t index)
{
    if (kind == SECTION_POOL)
        return config->pools[index].name;
    if (kind == SECTION_LISTENER)
        return config->listeners[index].name;
    return "";
}

size_t config_fields_count(const struct config *config, enum config_kind kind)
{
    if (kind == SECTION_POOL)
        return config->pool_count;
    if (kind == SECTION_LISTENER)
        return config->listener_count;
    return 1;
}

bool config_addresses_have_unix(const struct config_addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (addresses->list[i].address.sa.ss_family == AF_UNIX)
            return true;
    }
    return false;
}

/* In [admin] the keys for unix sockets have an effect even without any address: the default is
 * one. */
bool config_fields_have_effect(const struct config *config, enum config_kind kind, size_t index,
                               const struct config_key *key)
{
    if (kind == SECTION_ADMIN)
        return !key->for_unix || config->admin.addresses.count == 0 ||
               config_addresses_have_unix(&config->admin.addresses);
    if (kind != SECTION_LISTENER)
        return true;
    const struct config_listener *listener = &config->listeners[index];
    if (key->for_unix && !config_addresses_have_unix(&listener->addresses))
        return false;
    return config_key_suits(key, endpoint_scheme(&listener->upstream));
}

int config_fields_set_defaults(void *fields, enum config_kind kind)
{
    const struct config_section_kind *section = &config_section_kinds[kind];

    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        struct config_input input = {.key = key, .text = key->initial};
        if (key->initial != NULL && key->type->parse(&input, config_fields_at(fields, key)) < 0)
            return -1;
    }
    return 0;
}

void config_fields_clear(void *fields, enum config_kind kind)
{
    const struct config_section_kind *section = &config_section_kinds[kind];

    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->type->clear != NULL)
            key->type->clear(config_fields_at(fields, key));
    }
}

static int add_pool(struct config *config, const char *name, int line)
{
    struct config_pool *pools = reallocarray(config->pools, config->pool_count + 1, sizeof(*pools));
    if (pools == NULL)
        return -1;
    config->pools = pools;
    struct config_pool *pool = &pools[config->pool_count++];
    *pool = (struct config_pool){.name = strdup(name), .line = line};
    return pool->name == NULL ? -1 : config_fields_set_defaults(pool, SECTION_POOL);
}

static int add_listener(struct config *config, const char *name, int line)
{
    struct config_listener *listeners =
        reallocarray(config->listeners, config->listener_count + 1, sizeof(*listeners));
    if (listeners == NULL)
        return -1;
    config->listeners = listeners;
    struct config_listener *listener = &listeners[config->listener_count++];
    *listener = (struct config_listener){.name = strdup(name), .line = line};
    return listener->name == NULL ? -1 : config_fields_set_defaults(listener, SECTION_LISTENER);
}

int config_fields_add(struct config *config, enum config_kind kind, const char *name, int line)
{
    return kind == SECTION_POOL ? add_pool(config, name, line) : add_listener(config, name, line);
}
