/* SPDX-License-Identifier: ISC */
/* Times and reasons in words. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/problems_internal.h"

const char *span_text(char text[SPAN_TEXT_MAX], usec_t span)
{
    int64_t seconds = span / USEC_PER_SEC;
    if (span < USEC_PER_MSEC)
        snprintf(text, SPAN_TEXT_MAX, "less than 1 ms");
    else if (span < USEC_PER_SEC)
        snprintf(text, SPAN_TEXT_MAX, "%" PRId64 " ms", span / USEC_PER_MSEC);
    else if (seconds < 10)
        snprintf(text, SPAN_TEXT_MAX, "%" PRId64 ".%" PRId64 " s", seconds,
                 span % USEC_PER_SEC / (USEC_PER_SEC / 10));
    else if (seconds < 120)
        snprintf(text, SPAN_TEXT_MAX, "%" PRId64 " s", seconds);
    else if (seconds < 120 * 60)
        snprintf(text, SPAN_TEXT_MAX, "%" PRId64 " min", seconds / 60);
    else if (seconds < 48 * 3600)
        snprintf(text, SPAN_TEXT_MAX, "%" PRId64 " h", seconds / 3600);
    else
        snprintf(text, SPAN_TEXT_MAX, "%" PRId64 " days", seconds / 86400);
    return text;
}

const char *moment_text(char text[MOMENT_TEXT_MAX], int64_t moment, int64_t now)
{
    char span[SPAN_TEXT_MAX];
    time_t seconds = (time_t)(moment / USEC_PER_SEC);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, MOMENT_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (now - moment < USEC_PER_SEC)
        snprintf(text + n, MOMENT_TEXT_MAX - n, " (now)");
    else
        snprintf(text + n, MOMENT_TEXT_MAX - n, " (%s ago)", span_text(span, now - moment));
    return text;
}

static bool is(const struct failure *failure, const char *function)
{
    return failure->function != NULL && strcmp(failure->function, function) == 0;
}

/* OpenSSL's texts for X509_V_ERR_CERT_HAS_EXPIRED, and for the alert of a server that was shown
 * such a certificate. */
static bool is_expired(const struct failure *failure)
{
    return is(failure, "tls") && (strstr(failure->text, "has expired") != NULL ||
                                  strstr(failure->text, "certificate expired") != NULL);
}

static const char *meaning(const struct failure *failure)
{
    if (is(failure, "resolve"))
        return "its name is not resolved (DNS)";
    if (is_expired(failure))
        return failure->fault == TLS_FAULT_CERTIFICATE
                   ? "its certificate has expired"
                   : "it says that our certificate has expired (tls_cert_file)";
    if (is(failure, "tls"))
        return failure->fault == TLS_FAULT_CERTIFICATE ? "its certificate is refused"
                                                       : "TLS cannot be set up with it";
    if (failure->number == EMFILE || failure->number == ENFILE)
        return "no descriptor is left for a connection";
    if (is(failure, "connect") && failure->number == ECONNREFUSED)
        return "it refuses connections: nothing listens there";
    if (is(failure, "connect") && failure->number == ETIMEDOUT)
        return "it does not answer";
    return is(failure, "connect") ? "it cannot be reached" : "no connection can be opened";
}

const char *reason_text(char text[REASON_TEXT_MAX], const struct failure *failure)
{
    snprintf(text, REASON_TEXT_MAX, "%s: %s", meaning(failure), failure->text);
    return text;
}

const char *reason_code(const struct failure *failure)
{
    if (is(failure, "resolve"))
        return "dns_failing";
    return is_expired(failure) ? "certificate_expired" : "upstream_failing";
}
