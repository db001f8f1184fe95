/* SPDX-License-Identifier: ISC */
/* Parses, compares and formats scheme://addr:port. */
#include "net/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/address.h"

#define DIGITS     "0123456789"
#define NAME_CHARS DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."

#define LABEL_MAX 63 /* RFC 1035 section 2.3.4 */

bool endpoint_name_is_valid(const char *name)
{
    return *name != '\0' && name[strspn(name, NAME_CHARS)] == '\0';
}

/* ASCII only, whatever the locale. */
static void copy_lower(char *to, const char *from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = (char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] - 'A' + 'a' : from[i]);
    to[length] = '\0';
}

/* In lower case, except for a scope: names of interfaces may differ only by case. */
static void copy_addr(char *to, const char *from, size_t length)
{
    const char *scope = memchr(from, '%', length);
    size_t lower = scope != NULL ? (size_t)(scope - from) : length;

    copy_lower(to, from, lower);
    memcpy(to + lower, from + lower, length - lower);
    to[length] = '\0';
}

static const char *parse_scheme(struct endpoint *endpoint, const char *text, size_t length)
{
    if (length > ENDPOINT_SCHEME_MAX)
        return "the scheme is longer than 31 characters";
    copy_lower(endpoint->scheme, text, length);
    if (scheme_find(endpoint->scheme) == NULL)
        return "unknown scheme, not one of " SCHEME_NAMES;
    const char *plus = strchr(endpoint->scheme, '+');
    if (plus != NULL && !endpoint_name_is_valid(plus + 1))
        return "a scheme's NAME consists of letters, digits, '-', '_' and '.'";
    return NULL;
}

/* An IPv6 address, possibly with a scope, whose interface need not exist: fe80::1%eth0. */
static bool is_ipv6(const char *addr)
{
    const char *scope;
    struct in6_addr in6;
    return address_parse_ipv6(&in6, addr, &scope) &&
           (scope == NULL || endpoint_name_is_valid(scope));
}

static const char *check_name(const char *addr)
{
    const char *last = addr;

    if (!endpoint_name_is_valid(addr))
        return "an addr consists of letters, digits, '-', '_' and '.', or is an IPv6 address";
    for (const char *label = addr; *label != '\0';) {
        size_t length = strcspn(label, ".");
        if (length == 0 || length > LABEL_MAX)
            return "each part of a name between dots has 1 to 63 characters";
        last = label;
        label += length + (label[length] == '.');
    }
    /* A last label of digits is not a top-level domain: an IPv4 address is meant. */
    struct in_addr in;
    if (last[strspn(last, DIGITS ".")] == '\0' && inet_pton(AF_INET, addr, &in) != 1)
        return "not a valid IPv4 address";
    return NULL;
}

bool endpoint_addr_is_valid(const char *addr)
{
    return strlen(addr) <= ENDPOINT_ADDR_MAX && (is_ipv6(addr) || check_name(addr) == NULL);
}

static const char *parse_addr(struct endpoint *endpoint, const char *text, size_t length,
                              bool bracketed)
{
    if (length == 0)
        return "the addr is missing";
    if (length > ENDPOINT_ADDR_MAX)
        return "the addr is longer than 253 characters";
    copy_addr(endpoint->addr, text, length);
    if (!bracketed)
        return check_name(endpoint->addr);
    return is_ipv6(endpoint->addr) ? NULL : "not a valid IPv6 address between the brackets";
}

static const char *parse_port(struct endpoint *endpoint, const char *text)
{
    if (*text == '\0') {
        endpoint->port = scheme_find(endpoint->scheme)->port;
        return endpoint->port != 0 ? NULL : "the port is missing";
    }
    if (address_parse_port_number(&endpoint->port, text + 1) < 0)
        return "a port is a number from 1 to 65535";
    return NULL;
}

static const char *parse_authority(struct endpoint *endpoint, const char *text)
{
    const char *error;

    if (strchr(text, '@') != NULL)
        return "a user name is not allowed, just scheme://addr:port: clients log in themselves";
    if (text[strcspn(text, "/?#")] != '\0')
        return "a path is not allowed, just scheme://addr:port";
    if (*text == '[') {
        const char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return "an IPv6 address is written [addr]:port";
        error = parse_addr(endpoint, text + 1, (size_t)(close - text - 1), true);
        return error != NULL ? error : parse_port(endpoint, close + 1);
    }
    size_t length = strcspn(text, ":");
    if (text[length] == ':' && strchr(text + length + 1, ':') != NULL)
        return "an IPv6 address is written [addr]:port";
    error = parse_addr(endpoint, text, length, false);
    return error != NULL ? error : parse_port(endpoint, text + length);
}

int endpoint_parse(struct endpoint *endpoint, const char *text, const char **error)
{
    struct endpoint parsed = {0};
    const char *mark = strstr(text, "://");

    if (mark == NULL)
        *error = "not of the form scheme://addr:port";
    else if ((*error = parse_scheme(&parsed, text, (size_t)(mark - text))) == NULL)
        *error = parse_authority(&parsed, mark + 3);
    if (*error != NULL)
        return -1;
    *endpoint = parsed;
    return 0;
}

int endpoint_parse_scheme(struct endpoint *endpoint, const char *text)
{
    struct endpoint parsed = {0};
    const char *mark = strstr(text, "://");

    if (mark == NULL || parse_scheme(&parsed, text, (size_t)(mark - text)) != NULL)
        return -1;
    *endpoint = parsed;
    return 0;
}

char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    bool ipv6 = strchr(endpoint->addr, ':') != NULL;

    snprintf(text, ENDPOINT_TEXT_MAX, "%s://%s%s%s:%u", endpoint->scheme, ipv6 ? "[" : "",
             endpoint->addr, ipv6 ? "]" : "", (unsigned)endpoint->port);
    return text;
}

char *endpoint_authority(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    bool ipv6 = strchr(endpoint->addr, ':') != NULL;
    int addr = (int)strcspn(endpoint->addr, "%");
    int length = snprintf(text, ENDPOINT_TEXT_MAX, "%s%.*s%s", ipv6 ? "[" : "", addr,
                          endpoint->addr, ipv6 ? "]" : "");
    if (endpoint->port != scheme_find(endpoint->scheme)->port)
        snprintf(text + length, ENDPOINT_TEXT_MAX - (size_t)length, ":%u",
                 (unsigned)endpoint->port);
    return text;
}

int endpoint_compare_address(const struct endpoint *a, const struct endpoint *b)
{
    int order = strcmp(a->addr, b->addr);
    if (order == 0)
        order = (a->port > b->port) - (a->port < b->port);
    return order != 0 ? order : strcmp(a->scheme, b->scheme);
}

int endpoint_compare(const struct endpoint *a, const struct endpoint *b)
{
    int order = endpoint_compare_address(a, b);
    return order != 0 ? order : memcmp(a->tls_digest, b->tls_digest, sizeof(a->tls_digest));
}

bool endpoint_has_tls(const struct endpoint *endpoint)
{
    static const unsigned char none[TLS_DIGEST_SIZE];
    return memcmp(endpoint->tls_digest, none, sizeof(none)) != 0;
}

const struct scheme *endpoint_scheme(const struct endpoint *endpoint)
{
    return scheme_find(endpoint->scheme);
}
