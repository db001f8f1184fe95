/* SPDX-License-Identifier: ISC */
/* The demonstration's upstream: HTTP/1.0 and 1.1 with keep-alive, plain or over TLS.
 *
 * It responds to each request with a line that gives the connection it arrived on, its number on
 * that connection, and what was requested: "connection 3, request 17: GET /hello". The response to
 * the path /counts is "CONNECTIONS FULL RESUMED": how many connections were accepted so far, and
 * how many TLS handshakes, full and abbreviated, were completed. */
#ifndef KAPROXY_DEMO_UPSTREAM_H
#define KAPROXY_DEMO_UPSTREAM_H

#define UPSTREAM_COUNTS_PATH "/counts"

/* Listens on a free loopback port, prints it, and serves until SIGTERM. With a path it speaks
 * https, and writes its certificate there first. Returns the exit status. */
int upstream_main(const char *certificate_path);

#endif
