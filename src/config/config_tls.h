/* SPDX-License-Identifier: ISC */
/* The TLS side of a configuration: the TLS settings of listeners, checked. */
#ifndef KAPROXY_CONFIG_TLS_H
#define KAPROXY_CONFIG_TLS_H

#include "config/config_sections.h"
#include "tls/tls.h"

/* Checks the TLS settings of a listener whose other keys were checked, and gives its upstream their
 * digest: that of an earlier listener with the same endpoint and the same settings, or a new one.
 * Every mistake in the files, and every warning, goes to sections->errors, with the line of the
 * key; with a mistake there is no digest. An upstream that was rejected, or is missing, has no
 * scheme or no addr: then only the files are checked. */
void config_tls_load(struct config_sections *sections, const struct config_section *section);

/* The TLS options from a listener's keys; the texts are the configuration's. */
struct tls_options config_tls_options(const struct config_listener *listener);

/* Writes a mistake in them as "KEY: VALUE: why"; returns text. */
#define CONFIG_TLS_TEXT_MAX 1024
char *config_tls_format(const struct config_listener *listener, const struct tls_mistake *mistake,
                        char text[CONFIG_TLS_TEXT_MAX]);

#endif
