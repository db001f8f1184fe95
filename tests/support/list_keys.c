/* SPDX-License-Identifier: ISC */
/* Prints the table of keys, for tests/check_keys: SECTION KEY DEFAULT KIND, separated by tabs. The
 * default of a mandatory key is "-", the kind "time", "count" or "-". */
#include <stdio.h>

#include "config/config_key.h"
#include "config/config_type.h"

static const char *kind_of(const struct config_key *key)
{
    if (key->type == &config_type_time || key->type == &config_type_own_time)
        return "time";
    return key->type == &config_type_count ? "count" : "-";
}

int main(void)
{
    for (int kind = 0; kind < CONFIG_KIND_COUNT; kind++) {
        const struct config_section_kind *section = &config_section_kinds[kind];
        for (size_t i = 0; i < section->key_count; i++) {
            const struct config_key *key = &section->keys[i];
            printf("%s\t%s\t%s\t%s\n", section->name, key->name,
                   key->initial != NULL ? key->initial : "-", kind_of(key));
        }
    }
    return 0;
}
