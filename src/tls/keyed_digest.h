/* SPDX-License-Identifier: ISC */
/* Digests of secrets, to be compared and kept where the secrets are not: HMAC-SHA256, cut to 128
 * bits, with a key that is made at random and never leaves the process. */
#ifndef KAPROXY_KEYED_DIGEST_H
#define KAPROXY_KEYED_DIGEST_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/util.h"

#define KEYED_DIGEST_SIZE 16

struct keyed_digest;

/* Has a new key. NULL: OpenSSL cannot, which it logs. */
struct keyed_digest *keyed_digest_new(void);
void keyed_digest_free(struct keyed_digest *digest); /* NULL is harmless */

/* The digest of the parts, of which each counts with its length. 0, or -1 with ENOMEM. */
MUST_CHECK int keyed_digest_make(struct keyed_digest *digest, const struct iovec *parts, int count,
                                 unsigned char out[KEYED_DIGEST_SIZE]);

#endif
