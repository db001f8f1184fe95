/* SPDX-License-Identifier: ISC */
/* The keys of each kind of section, on which the parser, config_print and the checks of the pages
 * and the sample file are based. A new key is a field in config.h and a line in config_key.c. */
#ifndef KAPROXY_CONFIG_KEY_H
#define KAPROXY_CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_type;
struct scheme;

struct config_key {
    const char *name;
    const struct config_type *type;
    size_t offset;       /* of the field in the section's struct */
    const char *initial; /* the default, as text; NULL: the key is required */
    int64_t min, max;    /* counts as they are, times in seconds */
    bool zero_is_default;
    bool or_zero;       /* 0 is allowed in addition to the range */
    bool for_unix;      /* affects only unix sockets */
    bool for_tls;       /* affects only upstreams with TLS */
    bool fixed;         /* cannot change while kaproxy runs; not in a section with a name */
    unsigned protocols; /* affects only these, a set of KEY_FOR; 0: all */
};

#define KEY_FOR(protocol) (1U << (protocol))

enum config_kind {
    SECTION_KAPROXY,
    SECTION_ADMIN,
    SECTION_POOL,
    SECTION_LISTENER,
    CONFIG_KIND_COUNT
};

struct config_section_kind {
    const char *name;
    bool named; /* there may be several, which have names */
    const struct config_key *keys;
    size_t key_count; /* at most CONFIG_KEYS_MAX */
};

#define CONFIG_KEYS_MAX 32

extern const struct config_section_kind config_section_kinds[CONFIG_KIND_COUNT];

/* Does it affect such an upstream? */
bool config_key_suits(const struct config_key *key, const struct scheme *scheme);

/* A key's index in its section, or -1. */
int config_key_find(const struct config_section_kind *section, const char *name);

#endif
