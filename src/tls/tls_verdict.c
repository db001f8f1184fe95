/* SPDX-License-Identifier: ISC */
/* Why a certificate was rejected, and what in it is wrong. */
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/tls_internal.h"

/* A text composed piece by piece, in NUL-terminated memory. */
struct text {
    char *bytes;
    size_t size, length;
};

/* Truncates what does not fit. */
static PRINTF(2, 3) void add(struct text *text, const char *format, ...)
{
    va_list args;
    size_t room = text->size - text->length;
    va_start(args, format);
    int n = vsnprintf(text->bytes + text->length, room, format, args);
    va_end(args);
    if (n > 0)
        text->length += (size_t)n < room ? (size_t)n : room - 1;
}

/* The bytes are the upstream's: anything unprintable becomes a question mark. */
static void add_bytes(struct text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && text->length + 1 < text->size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        add(text, "%c", c > 0x20 && c < 0x7f ? c : c == ' ' ? ' ' : '?');
    }
}

/* As "CN=api.example.com,O=Example". */
static void add_subject(struct text *text, const X509_NAME *name)
{
    char bytes[128];
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return;
    int n = -1;
    if (X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(bio, bytes, sizeof(bytes));
    if (n > 0)
        add_bytes(text, bytes, (size_t)n);
    BIO_free(bio);
}

static void add_date(struct text *text, const ASN1_TIME *time)
{
    char date[32];
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) == 1 && strftime(date, sizeof(date), "%Y-%m-%d", &tm) > 0)
        add(text, "%s", date);
}

/* A name as the certificate contains it; "" for kinds that are not compared. */
static void format_name(struct text *text, const GENERAL_NAME *name)
{
    char address[INET6_ADDRSTRLEN];
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    const unsigned char *bytes =
        type == GEN_DNS || type == GEN_IPADD ? ASN1_STRING_get0_data(value) : NULL;
    int length = bytes != NULL ? ASN1_STRING_length(value) : 0;
    if (type == GEN_DNS)
        add_bytes(text, (const char *)bytes, (size_t)length);
    else if ((length == 4 || length == 16) &&
             inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, address, sizeof(address)) != NULL)
        add(text, "%s", address);
}

/* As many as fit, each in full. */
static void add_names(struct text *text, const X509 *certificate)
{
    static const char more[] = ", ...)";
    const char *before = "; the certificate is for ";
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        char bytes[128];
        struct text name = {.bytes = bytes, .size = sizeof(bytes)};
        format_name(&name, sk_GENERAL_NAME_value(names, i));
        if (name.length == 0)
            continue;
        if (text->size - text->length < strlen(before) + name.length + sizeof(more)) {
            add(text, ", ...");
            break;
        }
        add(text, "%s%s", before, bytes);
        before = ", ";
    }
    GENERAL_NAMES_free(names);
}

static void say_mismatch(struct text *text, const char *words, const char *wanted,
                         const X509 *certificate)
{
    if (X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1) < 0) {
        add(text, "it has no subjectAltName, and its subject is not considered (expected %s)",
            wanted);
        return;
    }
    add(text, "%s (expected %s", words, wanted);
    add_names(text, certificate);
    add(text, ")");
}

/* Details after OpenSSL's text: whose certificate it is, and what is wrong with it. */
static void add_details(struct text *text, int error, const X509 *certificate)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        add(text, " (");
        add_subject(text, X509_get_subject_name(certificate));
        add(text, " on ");
        add_date(text, X509_get0_notAfter(certificate));
        add(text, ")");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        add(text, " (");
        add_subject(text, X509_get_subject_name(certificate));
        add(text, " before ");
        add_date(text, X509_get0_notBefore(certificate));
        add(text, ")");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        add(text, " (issuer ");
        add_subject(text, X509_get_issuer_name(certificate));
        add(text, "): check tls_ca_file");
        break;
    default:
        break;
    }
}

int tls_verdict(int good, X509_STORE_CTX *store)
{
    if (good)
        return good;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    struct text text = {.bytes = tls->failure, .size = sizeof(tls->failure)};
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    int error = X509_STORE_CTX_get_error(store);
    const char *words = X509_verify_cert_error_string(error);
    add(&text, TLS_TEXT_VERDICT);
    if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        say_mismatch(&text, words, tls->client->name, X509_STORE_CTX_get0_cert(store));
        return good;
    }
    add(&text, "%s", words);
    if (certificate != NULL)
        add_details(&text, error, certificate);
    return good;
}
