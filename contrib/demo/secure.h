/* SPDX-License-Identifier: ISC */
/* TLS for both ends of the demonstration. Where a context is asked for, NULL means plain TCP. */
#ifndef KAPROXY_DEMO_SECURE_H
#define KAPROXY_DEMO_SECURE_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/types.h>
#include <stdbool.h>

/* The accepting end, with a new key and a self-signed certificate for 127.0.0.1 and localhost,
 * which is written to the file `path`. NULL: the reason was printed. */
SSL_CTX *secure_accepting(const char *path);

/* The connecting end, which trusts the certificate in the file `path` and no other. It never
 * resumes a session: a program started for a single request cannot either. NULL: as above. */
SSL_CTX *secure_connecting(const char *path);

/* A buffered stream that owns `fd` (-1: to be connected). It accepts or connects as its context
 * does, and reports BEV_EVENT_CONNECTED after the handshake. NULL: out of memory, and libevent may
 * have closed `fd` or not. */
struct bufferevent *secure_stream(struct event_base *base, SSL_CTX *context, evutil_socket_t fd);

/* Was the handshake an abbreviated one? False on plain TCP. */
bool secure_resumed(struct bufferevent *stream);

/* Why a stream reported BEV_EVENT_ERROR. Call it from that event. */
const char *secure_problem(struct bufferevent *stream);

/* Ends a stream; on TLS the peer is notified first. NULL is harmless. */
void secure_free(struct bufferevent *stream);

#endif
