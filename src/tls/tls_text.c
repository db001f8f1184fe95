/* SPDX-License-Identifier: ISC */
/* OpenSSL's errors as texts for people. */
#include <openssl/err.h>
#include <openssl/pemerr.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509err.h>
#include <stdio.h>
#include <string.h>

#include "tls/tls_internal.h"

static void say(char *text, size_t size, const char *words)
{
    snprintf(text, size, "%s", words);
}

/* OpenSSL's own text for an error; the queue may also hold a system error in its place. */
static void say_error(char *text, size_t size, unsigned long error)
{
    const char *reason = ERR_reason_error_string(error);
    if (ERR_SYSTEM_ERROR(error))
        say(text, size, strerror(ERR_GET_REASON(error)));
    else if (reason != NULL)
        say(text, size, reason);
    else
        snprintf(text, size, "OpenSSL error %lx", error);
}

/* The verdict is already there, unless none was reached. */
static void say_verify_error(const struct tls *tls, char *text, size_t size)
{
    long result = SSL_get_verify_result(tls->ssl);
    if (strncmp(tls->failure, TLS_TEXT_VERDICT, strlen(TLS_TEXT_VERDICT)) != 0)
        snprintf(text, size, TLS_TEXT_VERDICT "%s", X509_verify_cert_error_string(result));
}

/* OpenSSL calls an alert "tlsv13 alert certificate required", or sometimes leaves out "alert": the
 * words after that are for people. */
static void say_alert(int number, const char *reason, char *text, size_t size)
{
    const char *words = reason != NULL ? strchr(reason, ' ') : NULL;
    if (words == NULL) {
        snprintf(text, size, "alert from the upstream: number %d", number);
        return;
    }
    words++;
    if (strncmp(words, "alert ", strlen("alert ")) == 0)
        words += strlen("alert ");
    snprintf(text, size, "alert from the upstream: %s", words);
}

static void say_end(const struct tls *tls, const char *reason, char *text, size_t size)
{
    const char *when = tls->open ? "" : " during the handshake";
    if (reason == NULL)
        snprintf(text, size, "the upstream closed the connection%s", when);
    else
        snprintf(text, size, "%s%s", reason, when);
}

/* Newer OpenSSL releases detect on their own that a protocol was chosen that was not offered, but
 * have no specific error for it. */
static bool is_about_alpn(void)
{
    const char *function;
    ERR_peek_error_all(NULL, NULL, &function, NULL, NULL);
    return function != NULL && strstr(function, "_alpn") != NULL;
}

/* An alert's reason is its number plus an offset. Reasons common to all of OpenSSL, such as a
 * shortage of memory, are far above. */
static bool is_alert(int reason)
{
    return reason >= SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + UINT8_MAX;
}

static void say_ssl_error(const struct tls *tls, unsigned long error, char *text, size_t size)
{
    int reason = ERR_GET_REASON(error);
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        say_verify_error(tls, text, size);
        return;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
        say(text, size, "the upstream does not speak TLS");
        return;
    case SSL_R_UNSUPPORTED_PROTOCOL:
        say(text, size, "the upstream supports no TLS version that is allowed here");
        return;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        say_end(tls, NULL, text, size);
        return;
    case SSL_R_BAD_EXTENSION:
        say(text, size, is_about_alpn() ? TLS_TEXT_ALPN : "bad extension");
        return;
    default:
        break;
    }
    if (is_alert(reason))
        say_alert(reason - SSL_AD_REASON_OFFSET, ERR_reason_error_string(error), text, size);
    else
        say_error(text, size, error);
}

static enum tls_fault fault_of(int error, unsigned long first)
{
    int reason = ERR_GET_REASON(first);
    if (error != SSL_ERROR_SSL || first == 0)
        return TLS_FAULT_ENDED;
    if (ERR_GET_LIB(first) != ERR_LIB_SSL)
        return TLS_FAULT_PROTOCOL;
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return TLS_FAULT_ENDED;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return TLS_FAULT_CERTIFICATE;
    return is_alert(reason) ? TLS_FAULT_ALERT : TLS_FAULT_PROTOCOL;
}

void tls_text_failure(struct tls *tls, int error, int number)
{
    unsigned long first = ERR_peek_error();
    tls->fault = fault_of(error, first);
    char *text = tls->failure;
    size_t size = sizeof(tls->failure);
    if (error != SSL_ERROR_SSL || first == 0)
        say_end(tls, number != 0 ? strerror(number) : NULL, text, size);
    else if (ERR_GET_LIB(first) == ERR_LIB_SSL)
        say_ssl_error(tls, first, text, size);
    else
        say_error(text, size, first);
    ERR_clear_error();
}

void tls_text_alert(struct tls *tls, int number)
{
    unsigned long error = ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + number);
    tls->fault = TLS_FAULT_ALERT;
    say_alert(number, ERR_reason_error_string(error), tls->failure, sizeof(tls->failure));
}

void tls_text_file(const char *what, char *text, size_t size)
{
    unsigned long first = ERR_peek_error();
    int reason = ERR_GET_REASON(first);
    bool no_pem =
        (ERR_GET_LIB(first) == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE) ||
        (ERR_GET_LIB(first) == ERR_LIB_X509 && reason == X509_R_NO_CERTIFICATE_OR_CRL_FOUND) ||
        reason == ERR_R_UNSUPPORTED;
    if (no_pem || first == 0)
        snprintf(text, size, "holds no %s in PEM form", what);
    else
        say_error(text, size, first);
    ERR_clear_error();
}
