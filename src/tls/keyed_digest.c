/* SPDX-License-Identifier: ISC */
/* Digests of secrets, using OpenSSL. */
#include "tls/keyed_digest.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define KEY_SIZE 32
#define MAC_SIZE 32

struct keyed_digest {
    EVP_MAC_CTX *context; /* holds the key */
};

static EVP_MAC_CTX *make_context(void)
{
    unsigned char key[KEY_SIZE];
    char sha256[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (context == NULL)
        return NULL;
    bool made = RAND_bytes(key, sizeof(key)) == 1 &&
                EVP_MAC_init(context, key, sizeof(key), parameters) == 1;
    explicit_bzero(key, sizeof(key));
    if (made)
        return context;
    EVP_MAC_CTX_free(context);
    return NULL;
}

struct keyed_digest *keyed_digest_new(void)
{
    struct keyed_digest *digest = calloc(1, sizeof(*digest));
    if (digest == NULL)
        return NULL;
    digest->context = make_context();
    if (digest->context != NULL)
        return digest;
    log_error("OpenSSL cannot make an HMAC-SHA256 with a random key");
    free(digest);
    return NULL;
}

void keyed_digest_free(struct keyed_digest *digest)
{
    if (digest != NULL)
        EVP_MAC_CTX_free(digest->context);
    free(digest);
}

static bool add(EVP_MAC_CTX *context, const void *data, size_t length)
{
    return length == 0 || EVP_MAC_update(context, data, length) == 1;
}

int keyed_digest_make(struct keyed_digest *digest, const struct iovec *parts, int count,
                      unsigned char out[KEYED_DIGEST_SIZE])
{
    unsigned char mac[MAC_SIZE];
    size_t length;
    bool made = EVP_MAC_init(digest->context, NULL, 0, NULL) == 1; /* the key is kept */
    for (int i = 0; made && i < count; i++) {
        uint64_t size = parts[i].iov_len;
        made = add(digest->context, &size, sizeof(size)) &&
               add(digest->context, parts[i].iov_base, parts[i].iov_len);
    }
    if (!made || EVP_MAC_final(digest->context, mac, &length, sizeof(mac)) != 1) {
        errno = ENOMEM;
        return -1;
    }
    memcpy(out, mac, KEYED_DIGEST_SIZE);
    return 0;
}
