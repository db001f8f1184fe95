/* SPDX-License-Identifier: ISC */
/* The structs behind the sections, handled through the table of keys. */
#ifndef KAPROXY_CONFIG_FIELDS_H
#define KAPROXY_CONFIG_FIELDS_H

#include "base/util.h"
#include "config/config.h"
#include "config/config_type.h"

/* The struct of a section: the config itself, its part for [admin], or an element of its pools or
 * listeners, which moves when another one is added. */
void *config_fields(struct config *config, enum config_kind kind, size_t index);
void *config_fields_at(void *fields, const struct config_key *key);

/* A key's value as text: in buffer, static, or in the config. */
const char *config_fields_format(const struct config *config, enum config_kind kind, size_t index,
                                 const struct config_key *key, char buffer[CONFIG_VALUE_MAX]);

/* "" for [kaproxy], [admin] and the default pool. */
const char *config_fields_name(const struct config *config, enum config_kind kind, size_t index);

/* How many sections of a kind there are. */
size_t config_fields_count(const struct config *config, enum config_kind kind);

/* Does a key have an effect in this section, given its other keys? */
bool config_fields_have_effect(const struct config *config, enum config_kind kind, size_t index,
                               const struct config_key *key);

/* Is there a unix socket among them, possibly next to other addresses? */
bool config_addresses_have_unix(const struct config_addresses *addresses);

/* Appends a pool or listener with the default of every key that has one. 0, or -1 with ENOMEM;
 * config_fields_clear handles what is left then. */
MUST_CHECK int config_fields_add(struct config *config, enum config_kind kind, const char *name,
                                 int line);

/* Sets every key that has a default to it; the fields must be clear. 0, or -1 with ENOMEM. */
MUST_CHECK int config_fields_set_defaults(void *fields, enum config_kind kind);

/* Frees what the fields own. */
void config_fields_clear(void *fields, enum config_kind kind);

#endif
