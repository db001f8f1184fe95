/* SPDX-License-Identifier: ISC */
/* For tls*.c only. */
#ifndef KAPROXY_TLS_INTERNAL_H
#define KAPROXY_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "tls/tls.h"

/* Sessions kept for resumption: slightly more than max_per_host's default, as TLS 1.3 sessions are
 * single-use and upstreams issue two with each full handshake. */
#define TLS_SESSIONS_MAX 8

struct tls_client {
    atomic_uint references;
    SSL_CTX *context;
    BIO_METHOD *input; /* tls_input_method */
    char *name;        /* SNI and verification */
    bool is_address;   /* an IP address: no SNI */
    const char *alpn;  /* NULL: none offered */
    bool bare_end;
    SSL_SESSION *sessions[TLS_SESSIONS_MAX]; /* the newest last */
    size_t session_count;
    struct tls_stats stats;
    struct tls_expiry expiries[TLS_UPSTREAMS + 1];
    struct tls_expiry_watch *expiry_watch;
};

/* Bytes from the socket on their way to OpenSSL. */
struct tls_input {
    int fd;
    char *room; /* borrowed memory, NULL: none */
    size_t room_size;
    bool enough;      /* read no more from the socket */
    const char *next; /* waiting bytes: in the borrowed memory, or kept */
    size_t left;
    char *kept;   /* memory of bytes that outlast the loan, or NULL */
    bool drained; /* the last call consumed all that the socket had */
    bool ended;   /* EOF */
};

struct tls {
    struct tls_client *client;
    SSL *ssl;
    int fd;
    struct tls_input input;
    bool drained;                                 /* tls_is_drained */
    bool blocked;                                 /* tls_is_blocked */
    bool offered;                                 /* a kept session */
    bool open;                                    /* the handshake is done */
    int error;                                    /* errno of what broke it for good; 0: nothing */
    int write_error;                              /* of what broke only writing */
    enum { END_OPEN, END_PENDING, END_SENT } end; /* our close_notify */
    bool truncated;                               /* EOF without close_notify broke it */
    unsigned steps; /* of TLS protocol messages, in the current call from outside */
    char *record;   /* kTLS: bytes of a write to be repeated, or NULL */
    size_t record_length;
    char failure[256];
    enum tls_fault fault; /* NONE with a failure: PROTOCOL */
};

/* tls_input.c: the socket as OpenSSL reads it. With the memory of a reader, which its plain text
 * will fill anyway, one system call reads many records, although OpenSSL consumes them one by
 * one. */

/* NULL with ENOMEM. */
BIO_METHOD *tls_input_method(void);
BIO *tls_input_bio(struct tls_input *input, const BIO_METHOD *method);

/* To be called before each record is read, with the memory for its data and for everything that
 * follows; waiting bytes in it are not overwritten, provided that the data goes to the front. */
void tls_input_borrow(struct tls_input *input, void *memory, size_t size, bool enough);

/* Ends the loan. Bytes still waiting, which is rare, are kept. 0, or -1 with ENOMEM: they are
 * lost. */
MUST_CHECK int tls_input_own(struct tls_input *input);
void tls_input_drop(struct tls_input *input);

/* tls_session.c: sessions kept for resumption */

/* Makes the client keep the sessions that its connections receive. */
void tls_session_collect(struct tls_client *client);
/* The session to offer, which the caller now owns; NULL: none. */
SSL_SESSION *tls_session_take(struct tls_client *client);
void tls_session_forget_all(struct tls_client *client);

/* tls_verdict.c: OpenSSL's callback for its verdict on a certificate, which is not changed. If a
 * certificate is rejected, writes the reason into tls->failure, with details of the certificate. */
int tls_verdict(int good, X509_STORE_CTX *store);
#define TLS_TEXT_VERDICT "certificate verify failed: "

/* tls_expiry.c: certificates that expire */

/* Records the earliest expiry; leaf may be NULL, and so may the chain. */
void tls_expiry_note(struct tls_expiry *expiry, const X509 *leaf, const STACK_OF(X509) * chain,
                     time_t now);
bool tls_expiry_is_soon(const struct tls_expiry *expiry, time_t now);
/* True when a warning is due, which the caller then logs. */
bool tls_expiry_is_due(struct tls_expiry *expiry, time_t now);
/* A full handshake is complete. */
void tls_expiry_handshake(struct tls *tls);

/* tls_text.c: texts for people. tls_text_failure and tls_text_file read and clear OpenSSL's error
 * queue. */

/* Writes why a call failed into tls->failure. `error` is SSL_get_error's result, `number` errno. */
void tls_text_failure(struct tls *tls, int error, int number);
#define TLS_TEXT_FLOOD "the upstream keeps sending TLS messages without data"
#define TLS_TEXT_ALPN  "the upstream chose a protocol other than http/1.1"
/* Writes into tls->failure that the upstream sent this alert. */
void tls_text_alert(struct tls *tls, int number);
/* Why a file was not loaded; `what` names the expected contents. */
void tls_text_file(const char *what, char *text, size_t size);

#endif
