/* Numeric addresses of the configuration: what to listen on, what to connect from. */
#ifndef KAPROXY_CONFIG_ADDRESS_H
#define KAPROXY_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"
#include "config/config.h"
#include "net/resolver.h"

/* Parses addr:port, [v6]:port or unix:/path, `length` bytes of text; the address then owns a copy
 * of them. 0, or -1 with *error pointing to a static sentence. */
MUST_CHECK int config_address_parse(struct config_address *address, const char *text, size_t length,
                                    const char **error);
void config_address_clear(struct config_address *address);

/* True when one socket listening on a leaves no room for one on b. */
bool config_address_overlaps(const struct config_address *a, const struct config_address *b);

/* True for an IPv4-mapped address, ::ffff:127.0.0.1. Our IPv6 sockets never carry IPv4, so it is of
 * no use with them. */
bool config_address_is_mapped(const union address *address);

/* Writes a numeric address; returns text. */
const char *config_address_format_numeric(const union address *address, char *text, size_t size);

#endif
