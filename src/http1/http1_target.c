/* SPDX-License-Identifier: ISC */
/* Methods, request-targets and authorities. */
#include "http1/http1_internal.h"

#include <string.h>
#include <strings.h>

#include "net/address.h"

enum http1_method http1_method_find(const char *text, size_t length)
{
#define IS(name) (length == sizeof(name) - 1 && memcmp(text, name, sizeof(name) - 1) == 0)
    if (IS("GET"))
        return HTTP1_GET;
    if (IS("HEAD"))
        return HTTP1_HEAD;
    if (IS("POST"))
        return HTTP1_POST;
    if (IS("PUT"))
        return HTTP1_PUT;
    if (IS("DELETE"))
        return HTTP1_DELETE;
    if (IS("OPTIONS"))
        return HTTP1_OPTIONS;
    if (IS("TRACE"))
        return HTTP1_TRACE;
    if (IS("CONNECT"))
        return HTTP1_CONNECT;
    if (IS("PATCH"))
        return HTTP1_PATCH;
#undef IS
    return HTTP1_OTHER;
}

bool http1_method_is_safe(enum http1_method method)
{
    return method == HTTP1_GET || method == HTTP1_HEAD || method == HTTP1_OPTIONS ||
           method == HTTP1_TRACE;
}

bool http1_method_is_idempotent(enum http1_method method)
{
    return http1_method_is_safe(method) || method == HTTP1_PUT || method == HTTP1_DELETE;
}

/* "[" IPv6address "]" at the start of text; its length, or 0. */
static size_t ip_literal(const char *text, size_t length)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    const char *scope; /* RFC 3986 3.2.2 has none */
    const char *close = memchr(text, ']', length);
    size_t inner = close ? (size_t)(close - text) - 1 : 0;

    if (inner == 0 || inner >= sizeof(address))
        return 0;
    memcpy(address, text + 1, inner);
    address[inner] = '\0';
    return address_parse_ipv6(&parsed, address, &scope) && scope == NULL ? inner + 2 : 0;
}

static const char *port_check(const char *text, size_t length, bool needed)
{
    uint64_t port = 0;

    if (length == 0)
        return needed ? "CONNECT needs a port (RFC 9110 9.3.6)" : NULL;
    if (!http1_parse_number(text, length, &port) || length > 5 || port > 65535 ||
        (needed && port == 0))
        return "invalid port (RFC 3986 3.2.3)";
    return NULL;
}

/* uri-host [ ":" port ], RFC 9112 3.2.3; an empty host is not valid for http (RFC 9110 4.2.1). */
static const char *host_and_port_check(const char *text, size_t length, bool port_needed)
{
    size_t host = 0;

    if (length > 0 && text[0] == '[')
        host = ip_literal(text, length);
    else
        while (host < length && http1_is_host((unsigned char)text[host]))
            host++;
    if (host == 0 || (host < length && text[host] != ':'))
        return "invalid or empty host (RFC 9110 4.2.1, 7.2)";
    if (host == length)
        return port_needed ? "CONNECT needs a port (RFC 9110 9.3.6)" : NULL;
    return port_check(text + host + 1, length - host - 1, port_needed);
}

/* An "@" is never valid, and better explains what is wrong. */
const char *http1_authority_check(const char *text, size_t length, bool port_needed)
{
    const char *broken = host_and_port_check(text, length, port_needed);

    if (broken && memchr(text, '@', length))
        return "user information in an authority (RFC 9110 4.2.4)";
    return broken;
}

/* absolute-path [ "?" query ], or the same with an empty path. */
static bool path_is_valid(const char *text, size_t length)
{
    if (length > 0 && text[0] != '/' && text[0] != '?')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!http1_is_path((unsigned char)text[i]))
            return false;
    return true;
}

/* The length of "http://" or "https://" at the start, or 0. The listener stands for its upstream,
 * so https means an upstream reached through TLS: clients configured to use a proxy for https send
 * this. */
static size_t scheme_length(const char *text, size_t length)
{
    if (length >= 7 && strncasecmp(text, "http://", 7) == 0)
        return 7;
    return length >= 8 && strncasecmp(text, "https://", 8) == 0 ? 8 : 0;
}

/* absolute-form, RFC 9112 3.2.2: its authority takes precedence over Host. */
static const char *parse_absolute(struct http1_head *head, const char *text)
{
    size_t length = head->target.length, scheme = scheme_length(text, length), end = scheme;

    if (scheme == 0)
        return "the target is neither a path nor an http URI (RFC 9112 3.2)";
    while (end < length && text[end] != '/' && text[end] != '?' && text[end] != '#')
        end++;
    head->form = HTTP1_ABSOLUTE;
    head->authority.start = (uint16_t)(head->target.start + scheme);
    head->authority.length = (uint16_t)(end - scheme);
    head->path.start = (uint16_t)(head->target.start + end);
    head->path.length = (uint16_t)(length - end);
    if (!path_is_valid(text + end, length - end))
        return "invalid character in the target (RFC 3986 3.3)";
    return http1_authority_check(text + scheme, end - scheme, false);
}

const char *http1_target_parse(struct http1_head *head, const char *data)
{
    const char *text = data + head->target.start;
    size_t length = head->target.length;

    if (head->method == HTTP1_CONNECT) {
        head->form = HTTP1_AUTHORITY;
        head->authority = head->target;
        return http1_authority_check(text, length, true);
    }
    if (length == 1 && text[0] == '*') {
        head->form = HTTP1_ASTERISK;
        return head->method == HTTP1_OPTIONS ? NULL : "\"*\" is for OPTIONS (RFC 9112 3.2.4)";
    }
    if (length == 0 || text[0] != '/')
        return parse_absolute(head, text);
    head->form = HTTP1_ORIGIN;
    head->path = head->target;
    return path_is_valid(text, length) ? NULL : "invalid character in the target (RFC 3986 3.3)";
}
