/* For tls*.c alone. */
#ifndef KAPROXY_TLS_INTERNAL_H
#define KAPROXY_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "tls.h"

/* Sessions kept for resumption: a few more than max_per_host's default, as TLS 1.3's are for a
 * single use and upstreams give two with each full handshake. */
#define TLS_SESSIONS_MAX 8

struct tls_client {
    SSL_CTX *context;
    char *name;      /* SNI and verification */
    bool is_address; /* an IP address: no SNI */
    bool http;
    SSL_SESSION *sessions[TLS_SESSIONS_MAX]; /* the newest last */
    size_t session_count;
    struct tls_stats stats;
};

struct tls {
    struct tls_client *client;
    SSL *ssl;
    int fd;
    bool offered;                                 /* a kept session */
    bool open;                                    /* the handshake is done */
    int error;                                    /* errno of what broke it, for good; 0: nothing */
    int write_error;                              /* of what broke writing alone */
    enum { END_OPEN, END_PENDING, END_SENT } end; /* our close_notify */
    bool truncated;                               /* EOF without close_notify broke it */
    unsigned steps; /* of messages of TLS's own, in the present call from outside */
    char *record;   /* kTLS: bytes of a write that is to be repeated, or NULL */
    size_t record_length;
    char failure[160];
};

/* tls_session.c: what a client keeps for resumption */

/* Makes the client keep the sessions that its connections are given. */
void tls_session_collect(struct tls_client *client);
/* The session to offer, now the caller's; NULL: none. */
SSL_SESSION *tls_session_take(struct tls_client *client);
void tls_session_forget_all(struct tls_client *client);

/* tls_text.c: words for people. Both take what stands in OpenSSL's error queue, and empty it. */

/* Writes why a call failed into tls->failure. `error` is SSL_get_error's, `number` errno. */
void tls_text_failure(struct tls *tls, int error, int number);
#define TLS_TEXT_FLOOD "the upstream sends messages of TLS's own without end"
#define TLS_TEXT_ALPN  "the upstream chose a protocol other than http/1.1"
/* Writes into tls->failure that the upstream sent this alert. */
void tls_text_alert(struct tls *tls, int number);
/* Why a file was not loaded; `what` it should hold. */
void tls_text_file(const char *what, char *text, size_t size);

#endif
