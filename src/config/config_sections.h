/* SPDX-License-Identifier: ISC */
/* What a file says, section by section: which keys, in which lines. config_check needs it, and it
 * is gone once the configuration is loaded. */
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
    int line;                    /* 0: not in the file; the first ones are always there */
    bool mistaken;               /* its keys are checked, but it counts for nothing else */
    int lines[CONFIG_KEYS_MAX];  /* where each key is; 0: nowhere */
    bool valid[CONFIG_KEYS_MAX]; /* a key that is there, and parsed */
};

struct config_sections {
    struct config *config;
    struct config_errors errors;
    struct config_section *list;
    size_t count;
    bool lost;      /* a section could not be made out */
    size_t current; /* the section that keys go to, or a number of config_sections.c's own */
};

/* An empty config is borrowed, and gets its defaults. 0, or -1 with ENOMEM; clear in any case. */
MUST_CHECK int config_sections_init(struct config_sections *sections, struct config *config);
void config_sections_clear(struct config_sections *sections);

/* Reads a file to its end; mistakes go to `errors`. 0, or -1 with errno. */
MUST_CHECK int config_sections_read(struct config_sections *sections, FILE *file);

/* The first section of this kind and name, or NULL. */
struct config_section *config_sections_find(const struct config_sections *sections,
                                            enum config_kind kind, const char *name);

/* The line of a key of the table; 0 when it was not given. */
int config_section_line(const struct config_section *section, const char *key);

/* True when the key was given with a value that is right as such. */
bool config_section_is_valid(const struct config_section *section, const char *key);

#endif
