/* SPDX-License-Identifier: ISC */
/* The rules that relate keys and sections to each other. */
#ifndef KAPROXY_CONFIG_CHECK_H
#define KAPROXY_CONFIG_CHECK_H

#include "config/config_sections.h"

/* Adds mistakes to sections->errors, and fills in what depends on other keys: a listener's pool,
 * timeout and reuse. */
void config_check(struct config_sections *sections);

#endif
