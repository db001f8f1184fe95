/* The TLS side of a configuration: loads and checks what listeners need for https and tls. */
#ifndef KAPROXY_CONFIG_TLS_H
#define KAPROXY_CONFIG_TLS_H

#include "config/config_parts.h"

/* Gives the upstream of a listener, whose other keys were checked, its TLS client: a new one or
 * that of an earlier listener with the same endpoint and the same settings. Every mistake in the
 * files, and every warning, goes to parts->errors, at the line of the key; with a mistake there is
 * no client. An upstream that was refused, or is missing, has no scheme or no addr: then the files
 * alone are checked. */
void config_tls_load(struct config_parts *parts, const struct config_part *part);

#endif
