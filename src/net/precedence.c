/* SPDX-License-Identifier: ISC */
/* The policy table of RFC 6724, and the rules that compare an IPv6 and an IPv4 destination. */
#include "net/precedence.h"

#include <string.h>
#include <unistd.h>

/* The policy table. IPv4 addresses are looked up as IPv4-mapped ones. */
static const struct policy {
    uint8_t prefix[16];
    unsigned length; /* in bits */
    int precedence;
    int label;
} policies[] = {
    {.prefix = {[15] = 1}, .length = 128, .precedence = 50, .label = 0},                /* ::1 */
    {.prefix = {[10] = 0xff, [11] = 0xff}, .length = 96, .precedence = 35, .label = 4}, /* IPv4 */
    {.prefix = {0}, .length = 96, .precedence = 1, .label = 3},
    {.prefix = {0x20, 0x01}, .length = 32, .precedence = 5, .label = 5},
    {.prefix = {0x20, 0x02}, .length = 16, .precedence = 30, .label = 2},
    {.prefix = {0x3f, 0xfe}, .length = 16, .precedence = 1, .label = 12},
    {.prefix = {0xfe, 0xc0}, .length = 10, .precedence = 1, .label = 11},
    {.prefix = {0xfc}, .length = 7, .precedence = 3, .label = 13},
    {.prefix = {0}, .length = 0, .precedence = 40, .label = 1}, /* all others */
};

/* Scopes (RFC 4291 section 2.7, RFC 6724 section 3). */
enum scope { SCOPE_LINK = 2, SCOPE_SITE = 5, SCOPE_GLOBAL = 14 };

static void map(uint8_t bytes[16], const union address *address)
{
    if (address->sa.sa_family == AF_INET6) {
        memcpy(bytes, &address->in6.sin6_addr, 16);
        return;
    }
    memset(bytes, 0, 10);
    bytes[10] = bytes[11] = 0xff;
    memcpy(bytes + 12, &address->in.sin_addr, 4);
}

static bool has_prefix(const uint8_t bytes[16], const struct policy *policy)
{
    unsigned whole = policy->length / 8, rest = policy->length % 8;
    if (memcmp(bytes, policy->prefix, whole) != 0)
        return false;
    return rest == 0 || (bytes[whole] ^ policy->prefix[whole]) >> (8 - rest) == 0;
}

static const struct policy *policy_of(const union address *address)
{
    uint8_t bytes[16];
    const struct policy *policy = policies; /* by length, so the first match is the longest */
    map(bytes, address);
    while (!has_prefix(bytes, policy))
        policy++;
    return policy;
}

static int scope_of(const union address *address)
{
    const struct in6_addr *in6 = &address->in6.sin6_addr;
    uint8_t bytes[16];
    map(bytes, address);
    if (address->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(in6)) {
        bool link = bytes[12] == 127 || (bytes[12] == 169 && bytes[13] == 254);
        return link ? SCOPE_LINK : SCOPE_GLOBAL;
    }
    if (IN6_IS_ADDR_MULTICAST(in6))
        return bytes[1] & 0xf;
    if (IN6_IS_ADDR_LOOPBACK(in6) || IN6_IS_ADDR_LINKLOCAL(in6))
        return SCOPE_LINK;
    return IN6_IS_ADDR_SITELOCAL(in6) ? SCOPE_SITE : SCOPE_GLOBAL;
}

void precedence_init(struct destination *destination, const union address *address)
{
    *destination = (struct destination){.address = *address};
    socklen_t length = sizeof(destination->source);
    int fd = socket(address->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    destination->usable = connect(fd, &address->sa, address_length(address)) == 0 &&
                          getsockname(fd, &destination->source.sa, &length) == 0;
    close(fd);
}

static bool matches_scope(const struct destination *destination)
{
    return destination->usable && scope_of(&destination->source) == scope_of(&destination->address);
}

static bool matches_label(const struct destination *destination)
{
    return destination->usable &&
           policy_of(&destination->source)->label == policy_of(&destination->address)->label;
}

bool precedence_is_lower(const struct destination *a, const struct destination *b)
{
    if (a->usable != b->usable)
        return b->usable;
    if (matches_scope(a) != matches_scope(b))
        return matches_scope(b);
    if (matches_label(a) != matches_label(b))
        return matches_label(b);
    return policy_of(&a->address)->precedence < policy_of(&b->address)->precedence;
}
