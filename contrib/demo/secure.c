/* SPDX-License-Identifier: ISC */
/* TLS for the demonstration, with a certificate made on the fly. */
#include "secure.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define VALID_FROM (-60)            /* seconds from now: clocks differ */
#define VALID_TO   (30 * 24 * 3600) /* long enough that kaproxy does not warn that it expires */

static void *fail(const char *what)
{
    unsigned long error = ERR_peek_error(); /* the first one is the cause */
    const char *reason =
        ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);

    fprintf(stderr, "demo: %s: %s\n", what, reason ? reason : "unknown error");
    return NULL;
}

/* --- the certificate --- */

static bool add_extension(X509 *certificate, int id, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    bool added;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    if (!(extension = X509V3_EXT_conf_nid(NULL, &context, id, value)))
        return false;
    added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

static bool fill_certificate(X509 *certificate, EVP_PKEY *key)
{
    static const unsigned char name[] = "kaproxy demonstration";
    X509_NAME *subject = X509_get_subject_name(certificate);
    uint64_t serial;

    if (RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1)
        return false;
    return X509_set_version(certificate, X509_VERSION_3) &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), VALID_FROM) &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_TO) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, name, -1, -1, 0) &&
           X509_set_issuer_name(certificate, subject) && X509_set_pubkey(certificate, key) &&
           add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
           add_extension(certificate, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost") &&
           add_extension(certificate, NID_subject_key_identifier, "hash") &&
           X509_sign(certificate, key, EVP_sha256());
}

static bool write_certificate(X509 *certificate, const char *path)
{
    FILE *file = fopen(path, "we");
    bool written;

    if (!file) {
        perror(path);
        return false;
    }
    written = PEM_write_X509(file, certificate);
    if (fclose(file) != 0 || !written) {
        fprintf(stderr, "demo: %s: cannot be written\n", path);
        return false;
    }
    return true;
}

/* --- the two contexts --- */

SSL_CTX *secure_accepting(const char *path)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method()), *made = NULL;
    X509 *certificate = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");

    if (!context || !certificate || !key || !fill_certificate(certificate, key) ||
        !SSL_CTX_use_certificate(context, certificate) || !SSL_CTX_use_PrivateKey(context, key)) {
        fail("cannot make a certificate");
    } else if (write_certificate(certificate, path)) {
        made = context;
        context = NULL;
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
    SSL_CTX_free(context);
    return made;
}

SSL_CTX *secure_connecting(const char *path)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || !SSL_CTX_load_verify_file(context, path) ||
        !X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(context), "127.0.0.1")) {
        SSL_CTX_free(context);
        return fail(path);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

/* --- streams --- */

struct bufferevent *secure_stream(struct event_base *base, SSL_CTX *context, evutil_socket_t fd)
{
    enum bufferevent_ssl_state state;
    SSL *ssl;

    if (!context)
        return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!(ssl = SSL_new(context)))
        return NULL;
    state = SSL_is_server(ssl) ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING;
    return bufferevent_openssl_socket_new(base, fd, ssl, state, BEV_OPT_CLOSE_ON_FREE);
}

bool secure_resumed(struct bufferevent *stream)
{
    SSL *ssl = bufferevent_openssl_get_ssl(stream);

    return ssl && SSL_session_reused(ssl);
}

const char *secure_problem(struct bufferevent *stream)
{
    int system = EVUTIL_SOCKET_ERROR();
    SSL *ssl = bufferevent_openssl_get_ssl(stream);
    long verdict = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    unsigned long error = ssl ? bufferevent_get_openssl_error(stream) : 0;
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    if (verdict != X509_V_OK)
        return X509_verify_cert_error_string(verdict);
    return reason ? reason : evutil_socket_error_to_string(system);
}

void secure_free(struct bufferevent *stream)
{
    SSL *ssl = stream ? bufferevent_openssl_get_ssl(stream) : NULL;

    if (ssl && SSL_is_init_finished(ssl)) {
        SSL_shutdown(ssl);
        ERR_clear_error();
    }
    if (stream)
        bufferevent_free(stream);
}
