/* SPDX-License-Identifier: ISC */
/* Digests of secrets, to be compared and stored in place of the secrets: HMAC-SHA256 truncated to
 * 128 bits, with a random key that never leaves the process. */
#ifndef KAPROXY_KEYED_DIGEST_H
#define KAPROXY_KEYED_DIGEST_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/util.h"

#define KEYED_DIGEST_SIZE 16

struct keyed_digest;

/* With a new key. NULL if OpenSSL fails, which is logged. */
struct keyed_digest *keyed_digest_new(void);
void keyed_digest_free(struct keyed_digest *digest); /* NULL is allowed */

/* The digest of the parts, each hashed with its length. 0, or -1 with ENOMEM. */
MUST_CHECK int keyed_digest_make(struct keyed_digest *digest, const struct iovec *parts, int count,
                                 unsigned char out[KEYED_DIGEST_SIZE]);

#endif
