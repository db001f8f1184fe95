/* SPDX-License-Identifier: ISC */
/* Shared by the files of the types, for config_type*.c alone. */
#ifndef KAPROXY_CONFIG_TYPE_INTERNAL_H
#define KAPROXY_CONFIG_TYPE_INTERNAL_H

#include "config/config_type.h"

/* Adds a mistake, which begins with the key's name; ignored for a default. Returns -1. */
PRINTF(2, 3) int config_refuse(const struct config_input *input, const char *format, ...);

/* The index of a word in a NULL-terminated list; -1, and a mistake, if it is not there. */
int config_find_word(struct config_input *input, const char *const *words);

#endif
