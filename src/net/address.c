/* SPDX-License-Identifier: ISC */
/* Parses, formats and compares numeric addresses. */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/log_line.h"

/* An interface's name or number (RFC 4007 section 11.2); 0 for neither. */
static unsigned scope_parse(const char *text)
{
    unsigned scope = if_nametoindex(text);
    if (scope != 0 || *text < '0' || *text > '9')
        return scope;
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && number <= UINT32_MAX ? (unsigned)number : 0;
}

bool address_parse_ipv6(struct in6_addr *in6, const char *text, const char **scope)
{
    char bare[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    if (length >= sizeof(bare))
        return false;
    memcpy(bare, text, length);
    bare[length] = '\0';
    *scope = text[length] == '%' ? text + length + 1 : NULL;
    return inet_pton(AF_INET6, bare, in6) == 1;
}

static bool parse_in6(struct sockaddr_in6 *in6, const char *text)
{
    const char *scope;
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (!address_parse_ipv6(&in6->sin6_addr, text, &scope))
        return false;
    if (scope != NULL)
        in6->sin6_scope_id = scope_parse(scope);
    return scope == NULL || in6->sin6_scope_id != 0;
}

bool address_parse(union address *address, const char *text)
{
    union address parsed = {0};
    if (inet_pton(AF_INET, text, &parsed.in.sin_addr) == 1)
        parsed.in.sin_family = AF_INET;
    else if (!parse_in6(&parsed.in6, text))
        return false;
    *address = parsed;
    return true;
}

bool address_is_mapped(const union address *address)
{
    return address->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr);
}

socklen_t address_length(const union address *address)
{
    return address->sa.sa_family == AF_INET6 ? sizeof(address->in6) : sizeof(address->in);
}

/* The usual family, and in every line of the access log. */
static void format_in(char *text, const struct sockaddr_in *in)
{
    const unsigned char *bytes = (const unsigned char *)&in->sin_addr;
    for (int i = 0; i < 4; i++) {
        text = log_digits(text, bytes[i]);
        *text++ = i < 3 ? '.' : ':';
    }
    text = log_digits(text, ntohs(in->sin_port));
    *text = '\0';
}

static void format_in6(char *text, const struct sockaddr_in6 *in6)
{
    *text++ = '[';
    inet_ntop(AF_INET6, &in6->sin6_addr, text, INET6_ADDRSTRLEN);
    text = stpcpy(text + strlen(text), "]:");
    text = log_digits(text, ntohs(in6->sin6_port));
    *text = '\0';
}

char *address_format(const union address *address, char text[ADDRESS_TEXT_MAX])
{
    if (address->sa.sa_family == AF_INET)
        format_in(text, &address->in);
    else
        format_in6(text, &address->in6);
    return text;
}

char *address_format_bare(const union address *address, char text[ADDRESS_TEXT_MAX])
{
    if (address->sa.sa_family == AF_INET)
        inet_ntop(AF_INET, &address->in.sin_addr, text, ADDRESS_TEXT_MAX);
    else
        inet_ntop(AF_INET6, &address->in6.sin6_addr, text, ADDRESS_TEXT_MAX);
    return text;
}

char *address_format_scoped(const union address *address, char text[ADDRESS_SCOPED_MAX])
{
    if (getnameinfo(&address->sa, address_length(address), text, ADDRESS_SCOPED_MAX, NULL, 0,
                    NI_NUMERICHOST) != 0)
        *text = '\0';
    return text;
}

in_port_t *address_port(union address *address)
{
    return address->sa.sa_family == AF_INET6 ? &address->in6.sin6_port : &address->in.sin_port;
}

/* Ends the text where the port begins, and returns the port; NULL: there is none. */
static char *cut_port(char *text, char **addr)
{
    *addr = text;
    char *end = strchr(text, ':');
    if (*text == '[') {
        end = strchr(text, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0'))
            return NULL;
        *addr = text + 1;
        *end++ = '\0';
    } else if (end == NULL || strchr(end + 1, ':') != NULL) {
        return NULL; /* two colons: an IPv6 address without its port */
    }
    if (*end == '\0')
        return NULL;
    *end = '\0';
    return end + 1;
}

int address_parse_port_number(uint16_t *port, const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length > 5 || text[length] != '\0')
        return -1;
    unsigned long number = strtoul(text, NULL, 10);
    if (number == 0 || number > UINT16_MAX)
        return -1;
    *port = (uint16_t)number;
    return 0;
}

bool address_parse_port(union address *address, const char *text, size_t length, uint16_t port)
{
    char copy[INET6_ADDRSTRLEN + IF_NAMESIZE + sizeof("[]%:65535")], *addr;
    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    const char *number = cut_port(copy, &addr);
    if (number != NULL && address_parse_port_number(&port, number) < 0)
        return false;
    if (!address_parse(address, addr) || (*text == '[' && address->sa.sa_family != AF_INET6))
        return false;
    *address_port(address) = htons(port);
    return true;
}

int address_parse_list(union address *addresses, size_t size, const char *text, uint16_t port)
{
    size_t count = 0;
    while (*(text += strspn(text, " \t")) != '\0') {
        size_t length = strcspn(text, " \t");
        if (count == size || memchr(text, '%', length) != NULL ||
            !address_parse_port(&addresses[count], text, length, port))
            return -1;
        count++;
        text += length;
    }
    return (int)count;
}

int address_compare(const union address *a, const union address *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return a->sa.sa_family < b->sa.sa_family ? -1 : 1;
    if (a->sa.sa_family == AF_INET)
        return memcmp(&a->in.sin_addr, &b->in.sin_addr, sizeof(a->in.sin_addr));
    int order = memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr));
    if (order != 0 || a->in6.sin6_scope_id == b->in6.sin6_scope_id)
        return order;
    return a->in6.sin6_scope_id < b->in6.sin6_scope_id ? -1 : 1;
}
