/* SPDX-License-Identifier: ISC */
/* Chooses the error type of Proxy-Status, and formats the field. */
#include "session/http/proxy_status.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "http1/http1_compose.h"

#define REQUEST_ERROR "http_request_error"

static const char *tls_error(enum tls_fault fault)
{
    switch (fault) {
    case TLS_FAULT_CERTIFICATE:
        return "tls_certificate_error";
    case TLS_FAULT_ALERT:
        return "tls_alert_received";
    case TLS_FAULT_ENDED:
        return "connection_terminated";
    case TLS_FAULT_NONE:
    case TLS_FAULT_PROTOCOL:
        break;
    }
    return "tls_protocol_error";
}

static const char *connect_error(int number)
{
    switch (number) {
    case ECONNREFUSED:
        return "connection_refused";
    case ETIMEDOUT:
        return "connection_timeout";
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return "connection_terminated";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
        return "destination_ip_unroutable";
    case EACCES: /* a packet filter of this machine */
    case EPERM:
        return "destination_ip_prohibited";
    default:
        return "proxy_internal_error";
    }
}

/* Errors of any function. */
static const char *other_error(int number)
{
    switch (number) {
    case EAGAIN: /* max_waiting, max_tunnels */
        return "connection_limit_reached";
    case EHOSTDOWN:
        return "destination_unavailable";
    case ECANCELED: /* we are stopping, and do not even try */
    case ESHUTDOWN:
        return "proxy_internal_response";
    default:
        return "proxy_internal_error";
    }
}

/* No connection was available. */
static const char *failure_error(const struct failure *failure)
{
    const char *function = failure->function;
    int number = failure->number;
    if (strcmp(function, "queue") == 0)
        return "connection_limit_reached";
    if (strcmp(function, "resolve") == 0 && (number == 0 || number == ETIMEDOUT))
        return number == 0 ? "dns_error" : "dns_timeout";
    if (strcmp(function, "tls") == 0 && (number == 0 || number == ETIMEDOUT))
        return number == 0 ? tls_error(failure->fault) : "connection_timeout";
    if (strcmp(function, "connect") == 0)
        return connect_error(number);
    if (strcmp(function, "bind") == 0) /* bind_address is not ours, or of another family */
        return "proxy_configuration_error";
    return other_error(number);
}

/* The upstream's connection ended, or proved dead. */
static const char *end_error(const struct proxy_cause *cause)
{
    if (cause->reason == DISCARD_UNACKED)
        return "connection_write_timeout";
    if (cause->response_started)
        return "http_response_incomplete";
    return cause->fault != TLS_FAULT_NONE ? tls_error(cause->fault) : "connection_terminated";
}

static const char *response_error(const struct proxy_cause *cause)
{
    switch (cause->response_bad) {
    case 414:
    case 431:
        return "http_response_header_section_size";
    case 501:
        return "http_response_transfer_coding";
    default:
        return cause->response_status == 101 ? "http_upgrade_failed" : "http_protocol_error";
    }
}

const char *proxy_status_error(const struct proxy_cause *cause)
{
    if (cause->failure != NULL)
        return failure_error(cause->failure);
    if (cause->status < 500 || cause->end == SESSION_BAD_REQUEST)
        return REQUEST_ERROR;
    switch (cause->end) {
    case SESSION_UPSTREAM_CLOSED:
    case SESSION_UPSTREAM_RESET:
        return end_error(cause);
    case SESSION_BAD_RESPONSE:
        return response_error(cause);
    default:
        return cause->status == 504 ? "http_response_timeout" : "proxy_internal_error";
    }
}

/* A string of RFC 8941 section 3.3.3, truncated to fit. */
static void put_string(char *out, size_t size, const char *text)
{
    size_t n = 0;
    out[n++] = '"';
    for (; *text != '\0' && n + sizeof("\\x\"") <= size; text++) {
        bool printable = *text >= ' ' && *text <= '~';
        if (*text == '"' || *text == '\\')
            out[n++] = '\\';
        out[n++] = printable ? *text : '?';
    }
    out[n++] = '"';
    out[n] = '\0';
}

const char *proxy_status_format(char value[PROXY_STATUS_MAX], const struct proxy_cause *cause,
                                const char *text)
{
    const char *error = proxy_status_error(cause);
    int n = snprintf(value, PROXY_STATUS_MAX, "kaproxy; error=%s", error);
    if (strcmp(error, REQUEST_ERROR) == 0)
        n += snprintf(value + n, PROXY_STATUS_MAX - (size_t)n,
                      "; status-code=%u; status-phrase=\"%s\"", cause->status,
                      http1_reason(cause->status));
    n += snprintf(value + n, PROXY_STATUS_MAX - (size_t)n, "; details=");
    put_string(value + n, PROXY_STATUS_MAX - (size_t)n, text);
    return value;
}
