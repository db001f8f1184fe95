/* SPDX-License-Identifier: ISC */
/* Parses addresses to listen on, and detects two that cannot both be listened on. */
#include "net/listen_address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "net/address.h"

#define UNIX_PREFIX "unix:"

static const char *parse_unix(struct listen_address *address, const char *path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->sa;
    size_t length = strlen(path);

    if (*path != '/')
        return "a unix socket is written unix:/path";
    if (length >= sizeof(un->sun_path))
        return "a unix socket's path has at most 107 characters";
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length + 1);
    address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return NULL;
}

static void set_numeric(struct listen_address *address, union address *numeric, uint16_t port)
{
    *address_port(numeric) = htons(port);
    address->length = address_length(numeric);
    memcpy(&address->sa, numeric, address->length);
}

/* Splits addr:port or [v6]:port in two; NULL, or what is wrong. */
static const char *split(char *text, const char **host, const char **port)
{
    char *end;

    if (*text == '[') {
        *host = text + 1;
        end = strchr(text, ']');
        if (end == NULL || end[1] != ':')
            return "an IPv6 address is written [addr]:port";
        *port = end + 2;
    } else {
        *host = text;
        end = strchr(text, ':');
        if (end == NULL)
            return "the port is missing: write addr:port, [v6]:port or unix:/path";
        if (strchr(end + 1, ':') != NULL)
            return "an IPv6 address is written [addr]:port";
        *port = end + 1;
    }
    *end = '\0';
    return NULL;
}

static const char *parse_inet(struct listen_address *address, char *text)
{
    bool bracketed = *text == '[';
    const char *host, *port_text;
    union address numeric;
    uint16_t port;

    const char *error = split(text, &host, &port_text);
    if (error != NULL)
        return error;
    if (!address_parse(&numeric, host) || (numeric.sa.sa_family == AF_INET6) != bracketed)
        return "the addr is not numeric, such as 127.0.0.1, 0.0.0.0 or [::1]";
    if (address_is_mapped(&numeric))
        return "this is IPv4 written as IPv6: write the IPv4 address, such as 127.0.0.1:80";
    if (address_parse_port_number(&port, port_text) < 0)
        return "a port is a number from 1 to 65535";
    set_numeric(address, &numeric, port);
    return NULL;
}

int listen_address_parse(struct listen_address *address, const char *text, size_t length,
                         const char **error)
{
    char *copy = strndup(text, length);
    struct listen_address parsed = {.text = strndup(text, length)};

    if (copy == NULL || parsed.text == NULL)
        *error = "out of memory";
    else if (strncmp(copy, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        *error = parse_unix(&parsed, copy + strlen(UNIX_PREFIX));
    else
        *error = parse_inet(&parsed, copy);
    free(copy);
    if (*error != NULL) {
        listen_address_clear(&parsed);
        return -1;
    }
    *address = parsed;
    return 0;
}

void listen_address_clear(struct listen_address *address)
{
    free(address->text);
    address->text = NULL;
}

int listen_address_copy(struct listen_address *copy, const struct listen_address *address)
{
    *copy = *address;
    copy->text = strdup(address->text);
    return copy->text == NULL ? -1 : 0;
}

static bool is_any(const struct listen_address *address)
{
    if (address->sa.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&address->sa)->sin_addr.s_addr == INADDR_ANY;
    return address->sa.ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&address->sa)->sin6_addr);
}

bool listen_address_equals(const struct listen_address *a, const struct listen_address *b)
{
    return listen_address_overlaps(a, b) && is_any(a) == is_any(b);
}

static bool overlaps_ipv4(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_port == b->sin_port &&
           (a->sin_addr.s_addr == b->sin_addr.s_addr || a->sin_addr.s_addr == INADDR_ANY ||
            b->sin_addr.s_addr == INADDR_ANY);
}

static bool overlaps_ipv6(const struct sockaddr_in6 *a, const struct sockaddr_in6 *b)
{
    if (a->sin6_port != b->sin6_port)
        return false;
    if (IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&b->sin6_addr))
        return true;
    return IN6_ARE_ADDR_EQUAL(&a->sin6_addr, &b->sin6_addr) && a->sin6_scope_id == b->sin6_scope_id;
}

bool listen_address_overlaps(const struct listen_address *a, const struct listen_address *b)
{
    if (a->sa.ss_family != b->sa.ss_family)
        return false;
    if (a->sa.ss_family == AF_INET)
        return overlaps_ipv4((const struct sockaddr_in *)&a->sa,
                             (const struct sockaddr_in *)&b->sa);
    if (a->sa.ss_family == AF_INET6)
        return overlaps_ipv6((const struct sockaddr_in6 *)&a->sa,
                             (const struct sockaddr_in6 *)&b->sa);
    return strcmp(((const struct sockaddr_un *)&a->sa)->sun_path,
                  ((const struct sockaddr_un *)&b->sa)->sun_path) == 0;
}
