/* SPDX-License-Identifier: ISC */
/* TLS when OpenSSL, or the memory, denies something: no client and a reason, no connection and
 * ENOMEM, and nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "support/shortage.h"
#include "tls/tls.h"

/* The call that is denied; NULL: none. */
static const char *denied;
static unsigned granted_first; /* calls of it */

/* Whether OpenSSL's queue reports it. */
static bool is_set;

static bool is_denied(const char *function)
{
    if (denied == NULL || strcmp(denied, function) != 0)
        return false;
    if (granted_first > 0) {
        granted_first--;
        return false;
    }
    denied = NULL;
    if (is_set)
        ERR_raise(ERR_LIB_SSL, SSL_R_BAD_VALUE);
    return true;
}

/* A function of OpenSSL, or of the C library, that may be denied. */
#define DENIABLE(type, name, failed, parameters, arguments)                                        \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return is_denied(#name) ? (failed) : __real_##name arguments;                              \
    }

DENIABLE(char *, strndup, NULL, (const char *text, size_t size), (text, size))
DENIABLE(SSL_CTX *, SSL_CTX_new, NULL, (const SSL_METHOD *method), (method))
DENIABLE(BIO_METHOD *, BIO_meth_new, NULL, (int type, const char *name), (type, name))
DENIABLE(int, SSL_CTX_set_alpn_protos, 1,
         (SSL_CTX * context, const unsigned char *names, unsigned length), (context, names, length))
DENIABLE(int, SSL_CTX_set_default_verify_paths, 0, (SSL_CTX * context), (context))
DENIABLE(int, X509_VERIFY_PARAM_set1_host, 0,
         (X509_VERIFY_PARAM * param, const char *name, size_t length), (param, name, length))
DENIABLE(int, X509_VERIFY_PARAM_set1_ip_asc, 0, (X509_VERIFY_PARAM * param, const char *text),
         (param, text))
DENIABLE(SSL *, SSL_new, NULL, (SSL_CTX * context), (context))
DENIABLE(BIO *, BIO_new, NULL, (const BIO_METHOD *method), (method))
DENIABLE(EVP_MD_CTX *, EVP_MD_CTX_new, NULL, (void), ())
DENIABLE(int, EVP_DigestInit_ex, 0, (EVP_MD_CTX * hash, const EVP_MD *type, ENGINE *engine),
         (hash, type, engine))
DENIABLE(int, EVP_DigestUpdate, 0, (EVP_MD_CTX * hash, const void *data, size_t size),
         (hash, data, size))
DENIABLE(int, EVP_DigestFinal_ex, 0, (EVP_MD_CTX * hash, unsigned char *digest, unsigned *size),
         (hash, digest, size))

long __real_SSL_CTX_ctrl(SSL_CTX *context, int command, long number, void *data);
long __wrap_SSL_CTX_ctrl(SSL_CTX *context, int command, long number, void *data);

/* Few of its commands can fail. */
long __wrap_SSL_CTX_ctrl(SSL_CTX *context, int command, long number, void *data)
{
    if ((command == SSL_CTRL_SET_MIN_PROTO_VERSION && is_denied("min_proto_version")) ||
        (command == SSL_CTRL_SET_MAX_PROTO_VERSION && is_denied("max_proto_version")))
        return 0;
    return __real_SSL_CTX_ctrl(context, command, number, data);
}

static const struct tls_options name_options = {.server_name = "api.example.com",
                                                .verify = true,
                                                .ca_file = "",
                                                .cert_file = "",
                                                .key_file = "",
                                                .min_version = "1.2",
                                                .alpn = "http/1.1"};

static int setup(void **state)
{
    (void)state;
    denied = NULL;
    granted_first = 0;
    is_set = false;
    ERR_clear_error();
    return 0;
}

static void assert_no_client(const struct tls_options *options, const char *text)
{
    struct tls_mistake mistake;
    assert_null(tls_client_new(options, &mistake));
    assert_null(denied);
    assert_int_equal(mistake.option, TLS_OPTION_NONE);
    assert_string_equal(mistake.text, text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_client(void **state)
{
    static const char *const functions[] = {"strndup",
                                            "SSL_CTX_new",
                                            "BIO_meth_new",
                                            "min_proto_version",
                                            "max_proto_version",
                                            "SSL_CTX_set_alpn_protos",
                                            "SSL_CTX_set_default_verify_paths",
                                            "X509_VERIFY_PARAM_set1_host"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        is_set = false;
        denied = functions[i];
        assert_no_client(&name_options, strerror(ENOMEM));
        is_set = true;
        denied = functions[i];
        assert_no_client(&name_options, "bad value");
    }
    shortage_of_calloc(1);
    assert_no_client(&name_options, strerror(ENOMEM));
}

static void test_client_for_an_address(void **state)
{
    struct tls_options options = name_options;
    (void)state;
    options.server_name = "192.0.2.1";
    denied = "X509_VERIFY_PARAM_set1_ip_asc";
    assert_no_client(&options, strerror(ENOMEM));
}

/* What was denied once is not missing later. */
static void test_connection(void **state)
{
    static const char *const functions[] = {"SSL_new", "BIO_new"};
    struct tls_mistake mistake;
    (void)state;
    struct tls_client *client = tls_client_new(&name_options, &mistake);
    assert_non_null(client);
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        is_set = true;
        denied = functions[i];
        errno = 0;
        assert_null(tls_new(client, -1));
        assert_int_equal(errno, ENOMEM);
        assert_null(denied);
        assert_int_equal(ERR_peek_error(), 0);
    }
    shortage_of_calloc(1);
    errno = 0;
    assert_null(tls_new(client, -1));
    assert_int_equal(errno, ENOMEM);
    tls_client_unref(client);
}

/* At each of its calls. */
static void test_digest(void **state)
{
    static const struct {
        const char *function;
        unsigned least; /* calls: for the whole, and for the file */
    } cases[] = {
        {"EVP_MD_CTX_new", 2},
        {"EVP_DigestInit_ex", 2},
        {"EVP_DigestUpdate", 16},
        {"EVP_DigestFinal_ex", 2},
    };
    struct tls_options options = name_options;
    unsigned char digest[TLS_DIGEST_SIZE];
    struct tls_mistake mistake;
    (void)state;
    is_set = true;
    options.ca_file = "/etc/passwd";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned calls = 0;
        for (;; calls++) {
            denied = cases[i].function;
            granted_first = calls;
            if (tls_digest(&options, digest, &mistake) == 0)
                break;
            assert_null(denied);
            assert_string_equal(mistake.text, strerror(ENOMEM));
            assert_int_equal(ERR_peek_error(), 0);
        }
        assert_true(calls >= cases[i].least);
        assert_string_equal(mistake.text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_client, setup),
        cmocka_unit_test_setup(test_client_for_an_address, setup),
        cmocka_unit_test_setup(test_connection, setup),
        cmocka_unit_test_setup(test_digest, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
