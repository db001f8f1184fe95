/* SPDX-License-Identifier: ISC */
/* The demonstration's clients: each connects, sends one HTTP/1.0 request, reads the response, and
 * leaves. */
#ifndef KAPROXY_DEMO_LOAD_H
#define KAPROXY_DEMO_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A place on 127.0.0.1. */
struct load_place {
    uint16_t port;
    bool tls;
};

struct load_options {
    struct load_place target;   /* where the clients connect to */
    struct load_place upstream; /* is asked for its counts before and after the load */
    size_t clients, at_a_time;
    const char *certificate_path; /* the upstream's; required if a place is TLS */
};

/* Prints "CONNECTIONS FULL RESUMED MEDIAN PERCENTILE_99": how many connections the upstream
 * accepted for these clients, and with how many TLS handshakes of each kind; then the time from a
 * client's connect to the end of its response, in ms. The exit status: 0 if all got a response. */
int load_main(const struct load_options *options);

#endif
