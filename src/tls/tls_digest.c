/* SPDX-License-Identifier: ISC */
/* Settings and the contents of their files, by value. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/regular_file.h"
#include "base/util.h"
#include "tls/tls_internal.h"

static bool put(EVP_MD_CTX *hash, const void *data, size_t size)
{
    return EVP_DigestUpdate(hash, data, size) == 1;
}

/* Preceded by its length, so that no two sets of texts give the same bytes; NULL differs from
 * "". */
static bool put_text(EVP_MD_CTX *hash, const char *text)
{
    size_t length = text != NULL ? strlen(text) : SIZE_MAX;
    return put(hash, &length, sizeof(length)) && (text == NULL || put(hash, text, length));
}

static bool put_flag(EVP_MD_CTX *hash, bool flag)
{
    const unsigned char byte = flag;
    return put(hash, &byte, 1);
}

static bool put_options(EVP_MD_CTX *hash, const struct tls_options *options)
{
    return put_text(hash, options->server_name) && put_flag(hash, options->verify) &&
           put_text(hash, options->ca_file) && put_text(hash, options->cert_file) &&
           put_text(hash, options->key_file) && put_text(hash, options->min_version) &&
           put_text(hash, options->alpn) && put_flag(hash, options->bare_end);
}

/* 0, or -1 with errno. */
static int put_content(EVP_MD_CTX *hash, int fd)
{
    unsigned char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && !put(hash, buffer, (size_t)n)) {
            errno = ENOMEM;
            n = -1;
            break;
        }
    }
    int error = errno;
    OPENSSL_cleanse(buffer, sizeof(buffer)); /* of a key */
    errno = error;
    return n < 0 ? -1 : 0;
}

static const char *read_file(EVP_MD_CTX *hash, const char *file)
{
    const char *mistake;
    int fd = regular_file_open(file, &mistake);
    if (fd < 0)
        return mistake;
    if (put_content(hash, fd) < 0)
        mistake = strerror(errno);
    close(fd);
    return mistake;
}

/* Adds the digest of the file's contents, as that has a fixed size. NULL, or what is wrong with the
 * file. */
static const char *put_file(EVP_MD_CTX *hash, const char *file)
{
    unsigned char digest[TLS_DIGEST_SIZE];
    const char *mistake = strerror(ENOMEM);
    if (*file == '\0')
        return NULL;
    EVP_MD_CTX *content = EVP_MD_CTX_new();
    if (content == NULL || EVP_DigestInit_ex(content, EVP_sha256(), NULL) != 1)
        goto out;
    mistake = read_file(content, file);
    if (mistake == NULL &&
        (EVP_DigestFinal_ex(content, digest, NULL) != 1 || !put(hash, digest, sizeof(digest))))
        mistake = strerror(ENOMEM);
out:
    EVP_MD_CTX_free(content);
    return mistake;
}

/* 0, or -1 with the mistake. */
static int put_files(EVP_MD_CTX *hash, const struct tls_options *options,
                     struct tls_mistake *mistake)
{
    const struct {
        enum tls_option option;
        const char *file;
    } files[] = {
        {TLS_OPTION_CA_FILE, options->ca_file},
        {TLS_OPTION_CERT_FILE, options->cert_file},
        {TLS_OPTION_KEY_FILE, options->key_file},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const char *text = put_file(hash, files[i].file);
        if (text != NULL) {
            mistake->option = files[i].option;
            snprintf(mistake->text, sizeof(mistake->text), "%s", text);
            return -1;
        }
    }
    return 0;
}

int tls_digest(const struct tls_options *options, unsigned char digest[TLS_DIGEST_SIZE],
               struct tls_mistake *mistake)
{
    int result = -1;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    *mistake = (struct tls_mistake){.option = TLS_OPTION_NONE};
    snprintf(mistake->text, sizeof(mistake->text), "%s", strerror(ENOMEM));
    if (hash == NULL || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
        !put_options(hash, options) || put_files(hash, options, mistake) < 0 ||
        EVP_DigestFinal_ex(hash, digest, NULL) != 1)
        goto out;
    mistake->text[0] = '\0';
    result = 0;
out:
    EVP_MD_CTX_free(hash);
    ERR_clear_error();
    return result;
}
