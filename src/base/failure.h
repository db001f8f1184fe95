/* Why a dial, or an allocation, came to nothing. */
#ifndef KAPROXY_FAILURE_H
#define KAPROXY_FAILURE_H

/* What went wrong with TLS, for programs. */
enum tls_fault {
    TLS_FAULT_NONE,
    TLS_FAULT_PROTOCOL,    /* it is no TLS, or none that is accepted here */
    TLS_FAULT_CERTIFICATE, /* the upstream's was refused */
    TLS_FAULT_ALERT,       /* the upstream refused */
    TLS_FAULT_ENDED        /* the connection ended without any of these */
};

struct failure {
    const char *function; /* "queue", "resolve", "connect", "tls", "socket", ...; static */
    int number;           /* errno, 0 where there is none */
    enum tls_fault fault; /* of a handshake that failed */
    char text[256];       /* for people */
};

#endif
