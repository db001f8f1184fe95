/* SPDX-License-Identifier: ISC */
/* TLS towards an upstream, with OpenSSL: settings, sessions kept for resumption, one connection.
 *
 * OpenSSL writes to the socket without MSG_NOSIGNAL: the program must ignore SIGPIPE. A client and
 * its connections belong to one thread, but for references to the client. */
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

/* How to speak TLS to one endpoint: what listeners with the same endpoint and the same settings
 * share, the sessions kept for resumption included. */
struct tls_client;

/* A new one goes into tls_digest as well. */
struct tls_options {
    const char *server_name; /* SNI (not for an IP address), and the name or address to verify */
    bool verify;             /* chain and name */
    /* Whom to trust: authorities, or others that signed the upstream's certificate or are it. "":
     * the system's store, where only roots count. */
    const char *ca_file;
    /* Client certificate and its chain, PEM; "": none. Also for when an upstream asks for it later
     * (RFC 8446 4.6.2). */
    const char *cert_file;
    const char *key_file;    /* given with cert_file */
    const char *min_version; /* "1.2" or "1.3" */
    const char *alpn;        /* static: the protocol to offer (RFC 7301); NULL: none */
    bool bare_end;           /* EOF without close_notify is an end like any other */
};

/* Which option a mistake is about. */
enum tls_option { TLS_OPTION_NONE, TLS_OPTION_CA_FILE, TLS_OPTION_CERT_FILE, TLS_OPTION_KEY_FILE };

struct tls_mistake {
    enum tls_option option;
    char text[256]; /* for people, to follow the file's name and a colon; "": no mistake */
};

/* Loads and checks everything. NULL with the mistake filled in. A client certificate that has
 * expired, ends soon or is not valid yet is no mistake but a warning: the mistake is filled in, and
 * the client returned all the same. */
struct tls_client *tls_client_new(const struct tls_options *options, struct tls_mistake *mistake);
/* It is freed with the last reference, the maker's or another one; each of its connections has one.
 * Any thread. */
struct tls_client *tls_client_ref(struct tls_client *client);
void tls_client_unref(struct tls_client *client); /* NULL is harmless */

/* What tells settings that were checked so from others, by value: SHA-256 of every option and of
 * what the files hold. They are read once more for it, and so must be regular ones. 0, or -1 with
 * the mistake. */
#define TLS_DIGEST_SIZE 32
MUST_CHECK int tls_digest(const struct tls_options *options, unsigned char digest[TLS_DIGEST_SIZE],
                          struct tls_mistake *mistake);

/* How handshakes ended; those that were given up are not counted. */
enum tls_handshake { TLS_HANDSHAKE_FULL, TLS_HANDSHAKE_RESUMED, TLS_HANDSHAKE_FAILED };

/* A metric block; any thread may read it as long as the client lives. */
struct tls_stats {
    struct counter handshakes[TLS_HANDSHAKE_FAILED + 1];
};
extern const struct metric_set tls_metrics;
const struct tls_stats *tls_client_stats(const struct tls_client *client);

/* When a certificate ends, or the first of those above it. */
#define TLS_EXPIRY_DAYS 14
struct tls_expiry {
    time_t end;        /* 0: not known */
    time_t seen;       /* when it was known to be in use */
    time_t warned;     /* 0: never */
    char subject[128]; /* once the end is near; cut where it is longer */
};
enum tls_whose { TLS_OURS, TLS_UPSTREAMS };

/* Not NULL when it is time to warn that the client certificate, or that of the upstream as the last
 * full handshake showed it, ends within TLS_EXPIRY_DAYS or has ended: once in 24 hours. */
const struct tls_expiry *tls_client_expiring(struct tls_client *client, enum tls_whose whose,
                                             time_t now);

/* Days until the end; negative: it has ended. */
long tls_expiry_days(const struct tls_expiry *expiry, time_t now);

/* Called from inside a full handshake that has shown a certificate which ends soon. Must not touch
 * connections; NULL ends it. */
struct tls_expiry_watch {
    void (*seen)(struct tls_expiry_watch *watch, struct tls_client *client);
};
void tls_client_watch_expiry(struct tls_client *client, struct tls_expiry_watch *watch);

/* One connection's TLS, over a non-blocking socket that stays its owner's. */
struct tls;

/* NULL with errno. A kept session, if there is one, will be offered. */
struct tls *tls_new(struct tls_client *client, int fd);
/* Sends nothing. NULL is harmless. */
void tls_free(struct tls *tls);

enum tls_result {
    TLS_DONE,
    TLS_WANTS_READ, /* go on when the socket is readable */
    TLS_WANTS_WRITE,
    TLS_FAILED /* see tls_failure; sessions kept so far are thrown away if one was offered */
};

/* Goes on with the handshake. */
MUST_CHECK enum tls_result tls_handshake(struct tls *tls);

/* Why the handshake, or the connection after it, failed, for people ("certificate verify failed:
 * certificate has expired (CN=api.example.com on 2026-11-01)"); "" while it has not. In TLS 1.3 an
 * upstream refuses a client's certificate only after the client's handshake, so that a read fails.
 * Valid until tls_free. */
const char *tls_failure(const struct tls *tls);

/* The same for programs. */
enum tls_fault tls_fault(const struct tls *tls);

/* As recv and sendmsg on a non-blocking socket: bytes, 0 for close_notify (read), -1 with errno:
 * EAGAIN; EPROTO for broken TLS and for alerts; else the socket's. EOF without close_notify is
 * ECONNRESET: a truncation (RFC 8446 6.1); with bare_end it is so only within a record. After a
 * write that failed because of the socket, what the upstream had sent before can still be read. A
 * read takes what is in memory, and reads from the socket only if that makes no data, or ends
 * within a record; the larger its buffer, the more records come with one system call. After EAGAIN
 * or a short count the next write must begin with the bytes that are left, and have all of them: a
 * record of them may be on its way. */
MUST_CHECK ssize_t tls_read(struct tls *tls, void *buffer, size_t size);
MUST_CHECK ssize_t tls_writev(struct tls *tls, const struct iovec *parts, int count);

/* Did the last tls_read take all that the socket had, and give all of it that is data? Then there
 * is nothing to read until the socket reports more, but for an end that follows the bytes
 * without an event of its own. (A part of a record may be left: tls_has_pending.) */
bool tls_is_drained(const struct tls *tls);

/* Did the last tls_writev stop because nothing more can be written now, whatever it returned? After
 * any other short count (memory was short) another try may tell more, and nothing else will. */
bool tls_is_blocked(const struct tls *tls);

/* Processes what is no application data (tickets, key updates), then: 1 when bytes can be read, 0
 * when there are none, -1 when the connection has ended (errno 0: EOF, with close_notify or
 * without) or is broken. */
MUST_CHECK int tls_peek(struct tls *tls);

/* True while bytes from the socket wait in memory, for which the socket will not report any more:
 * data, or only a part of a record. */
bool tls_has_pending(const struct tls *tls);

/* True in the middle of a message of TLS's own after the handshake: a ticket of which a part is
 * missing, a key update that is to be answered. Then reads may wait for the socket to become
 * writable, writes for it to become readable, and each can do the other's work. */
bool tls_is_busy(const struct tls *tls);

/* Sends close_notify. 0; -1 with errno, EAGAIN: tls_is_ending now, call again when the socket is
 * writable and tls_is_busy no more. Does nothing when it was sent, when the handshake is not done,
 * or after a failure. */
int tls_end_write(struct tls *tls);
bool tls_is_ending(const struct tls *tls);

/* Is close_notify out? The socket may be shut down for writing then, once TLS is mute: from that
 * call on what TLS has to say of its own, as an answer to a key update, is thrown away. 0, or -1
 * with ENOMEM. */
bool tls_has_ended(const struct tls *tls);
MUST_CHECK int tls_mute(struct tls *tls);

#endif
