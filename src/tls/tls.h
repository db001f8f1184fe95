/* SPDX-License-Identifier: ISC */
/* TLS towards an upstream, with OpenSSL: settings, sessions kept for resumption, one connection.
 *
 * OpenSSL writes to the socket without MSG_NOSIGNAL, so the program must ignore SIGPIPE. A client
 * and its connections belong to one thread, except for references to the client. */
#ifndef KAPROXY_TLS_H
#define KAPROXY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "base/failure.h"
#include "base/metric.h"
#include "base/util.h"

/* How to speak TLS to one endpoint: shared by listeners with the same endpoint and the same
 * settings, including the sessions kept for resumption. */
struct tls_client;

/* A new field must be added to tls_digest as well. */
struct tls_options {
    const char *server_name; /* SNI (unless an IP address), and the name or address to verify */
    bool verify;             /* chain and name */
    /* Trusted certificates: CAs, or other certificates that signed the upstream's or are it. "":
     * the system's store, of which only roots are trusted. */
    const char *ca_file;
    /* Client certificate and its chain, PEM; "": none. Also used if an upstream asks for it after
     * the handshake (RFC 8446 4.6.2). */
    const char *cert_file;
    const char *key_file;    /* set together with cert_file */
    const char *min_version; /* "1.2" or "1.3" */
    const char *alpn;        /* static: the protocol to offer (RFC 7301); NULL: none */
    bool bare_end;           /* EOF without close_notify is a normal end */
};

/* The option that a mistake is about. */
enum tls_option { TLS_OPTION_NONE, TLS_OPTION_CA_FILE, TLS_OPTION_CERT_FILE, TLS_OPTION_KEY_FILE };

struct tls_mistake {
    enum tls_option option;
    char text[256]; /* for people, to follow the file's name and a colon; "": no mistake */
};

/* Loads and checks everything. NULL with the mistake filled in. A client certificate that has
 * expired, expires soon or is not valid yet is not a mistake but a warning: the mistake is filled
 * in, and the client returned nevertheless. */
struct tls_client *tls_client_new(const struct tls_options *options, struct tls_mistake *mistake);
/* A client is freed with its last reference: the creator's, or another one; each of its connections
 * has one. Any thread. */
struct tls_client *tls_client_ref(struct tls_client *client);
void tls_client_unref(struct tls_client *client); /* NULL is allowed */

/* Distinguishes settings that were checked in this way, by value: SHA-256 of every option and of
 * the files' contents. The files are read once more for this, and so must be regular ones. 0, or -1
 * with the mistake. */
#define TLS_DIGEST_SIZE 32
MUST_CHECK int tls_digest(const struct tls_options *options, unsigned char digest[TLS_DIGEST_SIZE],
                          struct tls_mistake *mistake);

/* How handshakes ended; abandoned ones are not counted. */
enum tls_handshake { TLS_HANDSHAKE_FULL, TLS_HANDSHAKE_RESUMED, TLS_HANDSHAKE_FAILED };

/* A metric block; any thread may read it while the client exists. */
struct tls_stats {
    struct counter handshakes[TLS_HANDSHAKE_FAILED + 1];
};
extern const struct metric_set tls_metrics;
const struct tls_stats *tls_client_stats(const struct tls_client *client);

/* When a certificate expires, or the first one above it in its chain. */
#define TLS_EXPIRY_DAYS 14
struct tls_expiry {
    time_t end;        /* 0: unknown */
    time_t seen;       /* when it was last known to be in use */
    time_t warned;     /* 0: never */
    char subject[128]; /* set once expiry is near; truncated to fit */
};
enum tls_whose { TLS_OURS, TLS_UPSTREAMS };

/* Not NULL when a warning is due: the client certificate, or the upstream's as shown in the last
 * full handshake, expires within TLS_EXPIRY_DAYS or has expired. Once in 24 hours. */
const struct tls_expiry *tls_client_expiring(struct tls_client *client, enum tls_whose whose,
                                             time_t now);

/* Days until expiry; negative: it has expired. */
long tls_expiry_days(const struct tls_expiry *expiry, time_t now);

/* Called from within a full handshake in which the upstream has shown a certificate that expires
 * soon. Must not touch connections; NULL removes it. */
struct tls_expiry_watch {
    void (*seen)(struct tls_expiry_watch *watch, struct tls_client *client);
};
void tls_client_watch_expiry(struct tls_client *client, struct tls_expiry_watch *watch);

/* The TLS layer of one connection, on a non-blocking socket that remains its owner's. */
struct tls;

/* NULL with errno. A kept session, if there is one, will be offered. */
struct tls *tls_new(struct tls_client *client, int fd);
/* Sends nothing. NULL is allowed. */
void tls_free(struct tls *tls);

enum tls_result {
    TLS_DONE,
    TLS_WANTS_READ, /* continue when the socket is readable */
    TLS_WANTS_WRITE,
    TLS_FAILED /* see tls_failure; if a session was offered, all kept sessions are discarded */
};

/* Continues the handshake. */
MUST_CHECK enum tls_result tls_handshake(struct tls *tls);

/* Why the handshake, or the connection after it, failed, for people ("certificate verify failed:
 * certificate has expired (CN=api.example.com on 2026-11-01)"); "" if it has not. In TLS 1.3 an
 * upstream rejects a client certificate only after the client's handshake, so that it is a read
 * that fails. Valid until tls_free. */
const char *tls_failure(const struct tls *tls);

/* The same for programs. */
enum tls_fault tls_fault(const struct tls *tls);

/* Like recv and sendmsg on a non-blocking socket: bytes, 0 for close_notify (read), -1 with errno:
 * EAGAIN; EPROTO for broken TLS and for alerts; otherwise the socket's. EOF without close_notify is
 * ECONNRESET: a truncation (RFC 8446 6.1); with bare_end only if it is within a record. After a
 * write that failed because of the socket, data received before can still be read. A read consumes
 * what is in memory, and reads from the socket only if that yields no data or ends within a record;
 * the larger its buffer, the more records arrive with one system call. After EAGAIN or a short
 * count the next write must begin with the remaining bytes, and include all of them: a record of
 * them may already be under way. */
MUST_CHECK ssize_t tls_read(struct tls *tls, void *buffer, size_t size);
MUST_CHECK ssize_t tls_writev(struct tls *tls, const struct iovec *parts, int count);

/* Did the last tls_read consume everything the socket had, and return all the data in it? If so,
 * there is nothing to read until the socket reports more, except for an end that follows the bytes
 * without an event of its own. (Part of a record may be left: tls_has_pending.) */
bool tls_is_drained(const struct tls *tls);

/* Did the last tls_writev stop because nothing more can be written now, whatever it returned? After
 * any other short count (memory was short) only another attempt can tell. */
bool tls_is_blocked(const struct tls *tls);

/* Processes messages that are not application data (tickets, key updates), then: 1 if bytes can be
 * read, 0 if there are none, -1 if the connection has ended (errno 0: EOF, with or without
 * close_notify) or is broken. */
MUST_CHECK int tls_peek(struct tls *tls);

/* True while bytes from the socket are waiting in memory, for which the socket will not report
 * again: data, or only part of a record. */
bool tls_has_pending(const struct tls *tls);

/* True in the middle of a TLS protocol message after the handshake: a ticket that is incomplete, a
 * key update that must be answered. Then reads may wait for the socket to become writable, writes
 * for it to become readable, and each can make progress for the other. */
bool tls_is_busy(const struct tls *tls);

/* Sends close_notify. 0; -1 with errno, EAGAIN: tls_is_ending is now true, call again when the
 * socket is writable and tls_is_busy is false. Does nothing if it was sent, if the handshake is not
 * complete, or after a failure. */
int tls_end_write(struct tls *tls);
bool tls_is_ending(const struct tls *tls);

/* Was close_notify sent? Then the socket may be shut down for writing once TLS is muted: from that
 * call on, TLS's own messages, such as a reply to a key update, are thrown away. 0, or -1 with
 * ENOMEM. */
bool tls_has_ended(const struct tls *tls);
MUST_CHECK int tls_mute(struct tls *tls);

#endif
