/* SPDX-License-Identifier: ISC */
/* A numeric IPv4 or IPv6 address. Pure, except for the names of interfaces. */
#ifndef KAPROXY_ADDRESS_H
#define KAPROXY_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/util.h"

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Reads a numeric IPv4 or IPv6 address (with a scope, fe80::1%eth0); false for a name. The port is
 * set to 0; on failure nothing is changed. */
bool address_parse(union address *address, const char *text);

/* Reads only an IPv6 address; *scope is set to the text after a '%', which may be anything, or to
 * NULL. */
bool address_parse_ipv6(struct in6_addr *in6, const char *text, const char **scope);

/* Reads a port number, 1 to 65535. 0 or -1. */
MUST_CHECK int address_parse_port_number(uint16_t *port, const char *text);

socklen_t address_length(const union address *address);

/* Reads ADDR, ADDR:PORT, [V6] or [V6]:PORT from `length` bytes of text; without a port it is
 * `port`. */
bool address_parse_port(union address *address, const char *text, size_t length, uint16_t port);

/* Reads several of these, separated by whitespace. Returns how many; -1: more than `size`, or one
 * of them is invalid or has a scope. */
int address_parse_list(union address *addresses, size_t size, const char *text, uint16_t port);

/* True for an IPv4-mapped address, ::ffff:127.0.0.1. Our IPv6 sockets never carry IPv4, so it
 * cannot be used with them. */
bool address_is_mapped(const union address *address);

/* ADDR:PORT or [V6]:PORT, without a scope; returns text. */
#define ADDRESS_TEXT_MAX 56
char *address_format(const union address *address, char text[ADDRESS_TEXT_MAX]);

/* The same without the port: ADDR, or V6 without brackets. */
char *address_format_bare(const union address *address, char text[ADDRESS_TEXT_MAX]);

/* The same with its scope, if it has one, as address_parse reads it: fe80::1%eth0. */
#define ADDRESS_SCOPED_MAX 64
char *address_format_scoped(const union address *address, char text[ADDRESS_SCOPED_MAX]);

/* The port of a socket's address, in network order. */
in_port_t *address_port(union address *address);

/* Orders addresses, ignoring ports. */
int address_compare(const union address *a, const union address *b);

#endif
