/* SPDX-License-Identifier: ISC */
/* Which error of RFC 9209 a local reply gets, and how the field is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "session/http/proxy_status.h"

static void assert_error(const struct proxy_cause *cause, const char *error)
{
    assert_string_equal(proxy_status_error(cause), error);
}

/* There was no connection: the status does not matter. */
static void test_failures(void **state)
{
    static const struct {
        struct failure failure;
        const char *error;
    } rows[] = {
        {{.function = "queue", .number = ETIMEDOUT}, "connection_limit_reached"},
        {{.function = "allocate", .number = EAGAIN}, "connection_limit_reached"},
        {{.function = "allocate", .number = EHOSTDOWN}, "destination_unavailable"},
        {{.function = "allocate", .number = ESHUTDOWN}, "proxy_internal_response"},
        {{.function = "allocate", .number = ENOMEM}, "proxy_internal_error"},
        {{.function = "shutdown", .number = ECANCELED}, "proxy_internal_response"},
        {{.function = "resolve", .number = ETIMEDOUT}, "dns_timeout"},
        {{.function = "resolve"}, "dns_error"},
        {{.function = "resolve", .number = ENOMEM}, "proxy_internal_error"},
        {{.function = "socket", .number = EMFILE}, "proxy_internal_error"},
        {{.function = "bind", .number = EADDRNOTAVAIL}, "proxy_configuration_error"},
        {{.function = "bind", .number = EAFNOSUPPORT}, "proxy_configuration_error"},
        {{.function = "epoll_ctl", .number = ENOSPC}, "proxy_internal_error"},
        {{.function = "connect", .number = ECONNREFUSED}, "connection_refused"},
        {{.function = "connect", .number = ETIMEDOUT}, "connection_timeout"},
        {{.function = "connect", .number = ECONNRESET}, "connection_terminated"},
        {{.function = "connect", .number = ENETUNREACH}, "destination_ip_unroutable"},
        {{.function = "connect", .number = EHOSTUNREACH}, "destination_ip_unroutable"},
        {{.function = "connect", .number = EACCES}, "destination_ip_prohibited"},
        {{.function = "connect", .number = EPERM}, "destination_ip_prohibited"},
        {{.function = "connect", .number = EADDRNOTAVAIL}, "proxy_internal_error"},
        {{.function = "connect", .number = ENOMEM}, "proxy_internal_error"},
        {{.function = "tls", .number = ETIMEDOUT}, "connection_timeout"},
        {{.function = "tls", .number = ENOMEM}, "proxy_internal_error"},
        {{.function = "tls", .fault = TLS_FAULT_PROTOCOL}, "tls_protocol_error"},
        {{.function = "tls", .fault = TLS_FAULT_CERTIFICATE}, "tls_certificate_error"},
        {{.function = "tls", .fault = TLS_FAULT_ALERT}, "tls_alert_received"},
        {{.function = "tls", .fault = TLS_FAULT_ENDED}, "connection_terminated"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_cause cause = {
            .status = 502, .end = SESSION_ALLOC_FAILED, .failure = &rows[i].failure};
        assert_error(&cause, rows[i].error);
    }
}

/* By the status, whose fault it is, and how the exchange ended. */
static void test_ends(void **state)
{
    static const struct {
        struct proxy_cause cause;
        const char *error;
    } rows[] = {
        {{.status = 400, .end = SESSION_BAD_REQUEST}, "http_request_error"},
        {{.status = 413, .end = SESSION_BAD_REQUEST}, "http_request_error"},
        {{.status = 501, .end = SESSION_BAD_REQUEST}, "http_request_error"},
        {{.status = 505, .end = SESSION_BAD_REQUEST}, "http_request_error"},
        {{.status = 408, .end = SESSION_IDLE_TIMEOUT}, "http_request_error"},
        {{.status = 504, .end = SESSION_IDLE_TIMEOUT}, "http_response_timeout"},
        {{.status = 504, .end = SESSION_IDLE_TIMEOUT, .response_started = true},
         "http_response_timeout"},
        {{.status = 502, .end = SESSION_UPSTREAM_CLOSED, .reason = DISCARD_UPSTREAM_CLOSED},
         "connection_terminated"},
        {{.status = 502, .end = SESSION_UPSTREAM_RESET, .reason = DISCARD_UPSTREAM_ERROR},
         "connection_terminated"},
        {{.status = 502,
          .end = SESSION_UPSTREAM_RESET,
          .reason = DISCARD_UPSTREAM_ERROR,
          .fault = TLS_FAULT_ALERT},
         "tls_alert_received"},
        {{.status = 502,
          .end = SESSION_UPSTREAM_RESET,
          .reason = DISCARD_UPSTREAM_ERROR,
          .fault = TLS_FAULT_ENDED},
         "connection_terminated"},
        {{.status = 502, .end = SESSION_UPSTREAM_CLOSED, .response_started = true},
         "http_response_incomplete"},
        {{.status = 502,
          .end = SESSION_UPSTREAM_RESET,
          .response_started = true,
          .fault = TLS_FAULT_PROTOCOL},
         "http_response_incomplete"},
        {{.status = 504, .end = SESSION_UPSTREAM_RESET, .reason = DISCARD_UNACKED},
         "connection_write_timeout"},
        {{.status = 504,
          .end = SESSION_UPSTREAM_RESET,
          .reason = DISCARD_UNACKED,
          .response_started = true},
         "connection_write_timeout"},
        {{.status = 502, .end = SESSION_BAD_RESPONSE}, "http_protocol_error"},
        {{.status = 502,
          .end = SESSION_BAD_RESPONSE,
          .response_started = true,
          .response_bad = 400},
         "http_protocol_error"},
        {{.status = 502,
          .end = SESSION_BAD_RESPONSE,
          .response_started = true,
          .response_bad = 431},
         "http_response_header_section_size"},
        {{.status = 502,
          .end = SESSION_BAD_RESPONSE,
          .response_started = true,
          .response_bad = 414},
         "http_response_header_section_size"},
        {{.status = 502,
          .end = SESSION_BAD_RESPONSE,
          .response_started = true,
          .response_bad = 501},
         "http_response_transfer_coding"},
        {{.status = 502,
          .end = SESSION_BAD_RESPONSE,
          .response_started = true,
          .response_status = 101},
         "http_upgrade_failed"},
        {{.status = 500, .end = SESSION_ERROR}, "proxy_internal_error"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_error(&rows[i].cause, rows[i].error);
}

static void test_format(void **state)
{
    struct proxy_cause cause = {.status = 502, .end = SESSION_UPSTREAM_CLOSED};
    char value[PROXY_STATUS_MAX];
    (void)state;
    assert_ptr_equal(proxy_status_format(value, &cause, "it ended"), value);
    assert_string_equal(value, "kaproxy; error=connection_terminated; details=\"it ended\"");
    cause = (struct proxy_cause){.status = 431, .end = SESSION_BAD_REQUEST};
    assert_string_equal(proxy_status_format(value, &cause, "too large"),
                        "kaproxy; error=http_request_error; status-code=431; "
                        "status-phrase=\"Request Header Fields Too Large\"; "
                        "details=\"too large\"");
}

/* RFC 8941 3.3.3: quotes and backslashes are escaped, and only ASCII is allowed. */
static void test_details(void **state)
{
    static const struct proxy_cause cause = {.status = 502, .end = SESSION_UPSTREAM_CLOSED};
    static const char before[] = "kaproxy; error=connection_terminated; details=\"";
    char value[PROXY_STATUS_MAX], text[2 * PROXY_STATUS_MAX];
    (void)state;
    proxy_status_format(value, &cause, "a \"b\" \\c\r\n\t\x7f\xc3\xa4~ ");
    assert_string_equal(value + strlen(before), "a \\\"b\\\" \\\\c??????~ \"");
    for (size_t length = PROXY_STATUS_MAX / 2; length < sizeof(text) - 1; length++) {
        memset(text, length % 2 == 0 ? '"' : 'x', length);
        text[length] = '\0';
        proxy_status_format(value, &cause, text);
        size_t end = strlen(value) - 1;
        assert_true(end < PROXY_STATUS_MAX - 1);
        assert_int_equal(value[end], '"');
        assert_true(length % 2 == 0 ? value[end - 2] == '\\' : value[end - 1] == 'x');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_details),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
