/* SPDX-License-Identifier: ISC */
/* The demonstration's upstream: HTTP/1.0 and 1.1 with keep-alive, plain or over TLS.
 *
 * It answers each request with a line that says on which connection it came, which request of that
 * connection it was, and what was asked for: "connection 3, request 17: GET /hello". The path
 * /counts is answered with "CONNECTIONS FULL RESUMED": how many connections were accepted so far,
 * and how many TLS handshakes, full and abbreviated, were completed. */
#ifndef KAPROXY_DEMO_UPSTREAM_H
#define KAPROXY_DEMO_UPSTREAM_H

#define UPSTREAM_COUNTS_PATH "/counts"

/* Listens on a free loopback port, prints it, and serves until SIGTERM. With a path it speaks
 * https, and writes its certificate there first. The exit status. */
int upstream_main(const char *certificate_path);

#endif
