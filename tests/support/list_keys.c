/* SPDX-License-Identifier: ISC */
/* Prints the table of keys, for tests/check_keys: SECTION KEY DEFAULT, tabs between, and "-" in
 * place of the default of a key that must be given. */
#include <stdio.h>

#include "config/config_key.h"

int main(void)
{
    for (int kind = 0; kind < CONFIG_KIND_COUNT; kind++) {
        const struct config_section_kind *section = &config_section_kinds[kind];
        for (size_t i = 0; i < section->key_count; i++) {
            const struct config_key *key = &section->keys[i];
            printf("%s\t%s\t%s\n", section->name, key->name,
                   key->initial != NULL ? key->initial : "-");
        }
    }
    return 0;
}
