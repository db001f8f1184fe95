/* SPDX-License-Identifier: ISC */
/* The contents of a file, section by section: which keys, on which lines. Needed by config_check,
 * and freed once the configuration is loaded. */
#ifndef KAPROXY_CONFIG_SECTIONS_H
#define KAPROXY_CONFIG_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/util.h"
#include "config/config.h"
#include "config/config_errors.h"
#include "config/config_key.h"

/* One section of the file. */
struct config_section {
    enum config_kind kind;
    size_t index;                /* for config_fields */
    int line;                    /* 0: not in the file; the first ones always exist */
    bool mistaken;               /* its keys are checked, but it is otherwise ignored */
    int lines[CONFIG_KEYS_MAX];  /* the line of each key; 0: none */
    bool valid[CONFIG_KEYS_MAX]; /* a key that is present, and parsed */
};

struct config_sections {
    struct config *config;
    struct config_errors errors;
    struct config_section *list;
    size_t count;
    bool lost;      /* a section could not be recognized */
    size_t current; /* the section that keys go to, or a constant from config_sections.c */
};

/* Borrows an empty config, which gets its defaults. 0, or -1 with ENOMEM; clear it in any case. */
MUST_CHECK int config_sections_init(struct config_sections *sections, struct config *config);
void config_sections_clear(struct config_sections *sections);

/* Reads a file to its end; mistakes go to `errors`. 0, or -1 with errno. */
MUST_CHECK int config_sections_read(struct config_sections *sections, FILE *file);

/* The first section of this kind and name, or NULL. */
struct config_section *config_sections_find(const struct config_sections *sections,
                                            enum config_kind kind, const char *name);

/* The line of a key of the table; 0 if it was not set. */
int config_section_line(const struct config_section *section, const char *key);

/* True if the key was set to a value that is valid in itself. */
bool config_section_is_valid(const struct config_section *section, const char *key);

#endif
