/* SPDX-License-Identifier: ISC */
/* Which of two destinations to try first: the rules of RFC 6724 section 6 that can distinguish an
 * IPv6 address from an IPv4 one. (Within a family c-ares has already sorted the addresses.) These
 * are 1 (avoid unusable destinations), 2 (matching scope), 5 (matching label) and 6 (precedence),
 * by the policy table of section 2.1. */
#ifndef KAPROXY_PRECEDENCE_H
#define KAPROXY_PRECEDENCE_H

#include <stdbool.h>

#include "net/address.h"

/* A destination with the source address that the system would use for it. */
struct destination {
    union address address;
    union address source;
    bool usable; /* there is a source, that is, a route */
};

/* Asks the kernel; no packet is sent. */
void precedence_init(struct destination *destination, const union address *address);

/* Whether b precedes a. */
bool precedence_is_lower(const struct destination *a, const struct destination *b);

#endif
