/* SPDX-License-Identifier: ISC */
/* Warns of certificates that will expire soon or have expired, once a day for each: our own from
 * the start, and those of upstreams once a handshake has shown them. */
#ifndef KAPROXY_CERTIFICATES_H
#define KAPROXY_CERTIFICATES_H

#include "config/config.h"
#include "daemon/tls_clients.h"
#include "net/loop.h"
#include "tls/tls.h"

/* Embedded in its owner. */
struct certificates {
    const struct config *config;
    const struct tls_clients *clients;
    struct loop *loop;
    struct timer timer;
    struct tls_expiry_watch watch;
};

/* Warns of what is known now, and checks from then on. Does nothing where no listener uses TLS. The
 * config and its listeners' TLS clients are borrowed. 0, or -1 with ENOMEM. */
MUST_CHECK int certificates_start(struct certificates *certificates, struct loop *loop,
                                  const struct config *config, const struct tls_clients *clients);

/* Harmless if it was not started. */
void certificates_stop(struct certificates *certificates);

/* Test seam: issues the warnings that are due at this time. */
void certificates_check(const struct certificates *certificates, time_t now);

#endif
