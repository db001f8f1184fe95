/* SPDX-License-Identifier: ISC */
/* An upstream's scheme, addr and port: scheme://addr:port; and how TLS is used with it, as far as
 * that distinguishes it from others. A value, to be copied and compared. Pure; no lookups. */
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
    char scheme[ENDPOINT_SCHEME_MAX + 1]; /* lower case, including "tcp+NAME" */
    char addr[ENDPOINT_ADDR_MAX + 1]; /* as written, lower case except a scope, without brackets */
    uint16_t port;
    unsigned char tls_digest[TLS_DIGEST_SIZE]; /* of its TLS settings; all zero: no TLS */
};

/* Parses scheme://addr:port, with the schemes of SCHEME_NAMES (NAME: letters, digits, '-', '_',
 * '.'). A scheme's default port may be omitted; a path is an error. 0, or -1 with *error pointing
 * to a static sentence. */
MUST_CHECK int endpoint_parse(struct endpoint *endpoint, const char *text, const char **error);

/* Only the scheme, of a text that may not be an endpoint. 0, with everything else empty, or -1. */
MUST_CHECK int endpoint_parse_scheme(struct endpoint *endpoint, const char *text);

/* The individual parts. An addr is a name or a numeric address, IPv6 without brackets (a scope is
 * allowed); the name of a scheme, pool or listener has letters, digits, '-', '_', '.'. */
bool endpoint_addr_is_valid(const char *addr);
bool endpoint_name_is_valid(const char *name);

/* Writes scheme://addr:port, an IPv6 addr in brackets; returns text. */
char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);

/* Writes addr:port as in HTTP's Host, without the scheme's default port and without the scope,
 * which is meaningless to others (RFC 6874 section 4); returns text. */
char *endpoint_authority(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);

/* Orders endpoints; 0 if they are the same host of a pool: scheme, addr, port and TLS settings.
 * Addresses are compared as written (POOL 4: a name and the address that it resolves to are
 * different hosts). */
int endpoint_compare(const struct endpoint *a, const struct endpoint *b);

/* The same, ignoring the TLS settings. */
int endpoint_compare_address(const struct endpoint *a, const struct endpoint *b);

/* Are there TLS settings? */
bool endpoint_has_tls(const struct endpoint *endpoint);

/* The meaning of a parsed endpoint's scheme; NULL: nothing was parsed. */
const struct scheme *endpoint_scheme(const struct endpoint *endpoint);

#endif
