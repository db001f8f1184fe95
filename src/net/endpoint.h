/* SPDX-License-Identifier: ISC */
/* An upstream's scheme, addr and port: scheme://addr:port; and how TLS is spoken to it, as far as
 * that sets it apart from others. A value, to be copied and compared. Pure; no lookups. */
#ifndef KAPROXY_ENDPOINT_H
#define KAPROXY_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "net/scheme.h"
#include "tls/tls.h"

/* RFC 1035 section 2.3.4: a name has at most 253 characters as text. */
#define ENDPOINT_ADDR_MAX   253
#define ENDPOINT_SCHEME_MAX 31
/* scheme "://" "[" addr "]" ":" port and the final NUL. */
#define ENDPOINT_TEXT_MAX (ENDPOINT_SCHEME_MAX + 3 + ENDPOINT_ADDR_MAX + 2 + 6 + 1)

struct endpoint {
    char scheme[ENDPOINT_SCHEME_MAX + 1]; /* lower case, "tcp+NAME" included */
    char addr[ENDPOINT_ADDR_MAX + 1]; /* as written, lower case but for a scope, without brackets */
    uint16_t port;
    unsigned char tls_digest[TLS_DIGEST_SIZE]; /* of its TLS settings; all zero: no TLS */
};

/* Parses scheme://addr:port. http and https may leave the port out (80, 443); a path is an
 * error. Schemes are http, https, tcp, tls, tcp+NAME, tls+NAME (NAME: letters, digits, '-', '_',
 * '.'). 0, or -1 with *error pointing to a static sentence. */
MUST_CHECK int endpoint_parse(struct endpoint *endpoint, const char *text, const char **error);

/* The scheme alone, of a text that is perhaps no endpoint. 0, with all else empty, or -1. */
MUST_CHECK int endpoint_parse_scheme(struct endpoint *endpoint, const char *text);

/* The parts by themselves. An addr is a name or a numeric address, IPv6 without brackets (a scope
 * is allowed); a name of a scheme, pool or listener has letters, digits, '-', '_', '.'. */
bool endpoint_addr_is_valid(const char *addr);
bool endpoint_name_is_valid(const char *name);

/* Writes scheme://addr:port, an IPv6 addr in brackets; returns text. */
char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);

/* Writes addr:port as HTTP's Host has it, without the scheme's own port, and without the scope,
 * which means nothing to others (RFC 6874 section 4); returns text. */
char *endpoint_authority(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);

/* Orders endpoints; 0 when they are the same host of a pool: scheme, addr, port and TLS settings.
 * Addresses are compared as written (POOL 4: a name and the address that it resolves to are
 * different hosts). */
int endpoint_compare(const struct endpoint *a, const struct endpoint *b);

/* The same, but for the TLS settings. */
int endpoint_compare_address(const struct endpoint *a, const struct endpoint *b);

/* Are there TLS settings? */
bool endpoint_has_tls(const struct endpoint *endpoint);

/* What a parsed endpoint's scheme stands for; NULL: nothing was parsed. */
const struct scheme *endpoint_scheme(const struct endpoint *endpoint);

#endif
