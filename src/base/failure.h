/* SPDX-License-Identifier: ISC */
/* Why a dial or an allocation failed. */
#ifndef KAPROXY_FAILURE_H
#define KAPROXY_FAILURE_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What went wrong with TLS, for programs. */
enum tls_fault {
    TLS_FAULT_NONE,
    TLS_FAULT_PROTOCOL,    /* not TLS, or none that is accepted here */
    TLS_FAULT_CERTIFICATE, /* the upstream's was rejected */
    TLS_FAULT_ALERT,       /* the upstream rejected the handshake */
    TLS_FAULT_ENDED        /* the connection ended without any of these */
};

struct failure {
    const char *function; /* "queue", "resolve", "connect", "tls", "socket", ...; static */
    int number;           /* errno, 0 if there is none */
    enum tls_fault fault; /* of a handshake that failed */
    unsigned retry_after; /* seconds after which it may succeed; 0: unknown */
    char text[256];       /* for people */
};

/* The pool did not even try: the host is down (POOL 40). (connect(2) uses the same errno for
 * another reason.) */
static inline bool failure_is_host_down(const struct failure *failure)
{
    return failure->number == EHOSTDOWN && strcmp(failure->function, "allocate") == 0;
}

#endif
