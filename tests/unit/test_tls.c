/* SPDX-License-Identifier: ISC */
/* TLS handshakes: what is verified, what is rejected, and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <sys/socket.h>
#include <time.h>

#include "support/tls_fixture.h"
#include "tls/tls_internal.h"

/* Names and chains */

struct name_case {
    const char *wanted, *sans;
    const char *sni;  /* that the peer gets; NULL: none */
    const char *text; /* NULL: accepted */
};

#define MISMATCH(names)                                                                            \
    "certificate verify failed: hostname mismatch (expected %s; the certificate is for " names ")"
#define NO_HOST "certificate verify failed: hostname mismatch (expected %s)"
#define NOT_IT(names)                                                                              \
    "certificate verify failed: IP address mismatch (expected %s; the certificate is for " names ")"
#define NAMELESS                                                                                   \
    "certificate verify failed: it has no subjectAltName, and its subject is not considered "      \
    "(expected "                                                                                   \
    "%s)"

static const struct name_case names[] = {
    {"api.example.com", "DNS:api.example.com", "api.example.com", NULL},
    {"api.example.com.", "DNS:api.example.com", "api.example.com", NULL},
    {"API.example.com", "DNS:api.example.com", "API.example.com", NULL},
    {"api.example.com", "DNS:*.example.com", "api.example.com", NULL},
    {"api.example.com", "DNS:other.example.com,DNS:api.example.com", "api.example.com", NULL},
    {"127.0.0.1", "IP:127.0.0.1", NULL, NULL},
    {"::1", "IP:::1", NULL, NULL},
    {"fe80::1%lo", "IP:fe80::1", NULL, NULL},
    {"api.example.com", "DNS:other.example.com,IP:::1,DNS:b.example.com", "api.example.com",
     MISMATCH("other.example.com, ::1, b.example.com")},
    {"a.b.example.com", "DNS:*.example.com", "a.b.example.com", MISMATCH("*.example.com")},
    {"api.example.com", "DNS:a*.example.com", "api.example.com", MISMATCH("a*.example.com")},
    {"common.example.com", "email:a@example.com", "common.example.com", NO_HOST},
    {"common.example.com", NULL, "common.example.com", NAMELESS},
    {"127.0.0.1", NULL, NULL, NAMELESS},
    {"127.0.0.1", "IP:127.0.0.2", NULL, NOT_IT("127.0.0.2")},
    {"127.0.0.1", "DNS:127.0.0.1", NULL, NOT_IT("127.0.0.1")},
    {"::1", "IP:::2", NULL, NOT_IT("::2")},
};

static void format_expected(char *text, size_t size, const struct name_case *name)
{
    size_t front = strcspn(name->text, "%");
    snprintf(text, size, "%.*s%s%s", (int)front, name->text, name->wanted,
             name->text + front + strlen("%s"));
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct name_case *name = &names[i];
        char text[256];
        show(f, &(struct identity_options){
                    .name = "common.example.com", .sans = name->sans, .issuer = &world.ca});
        f->options.server_name = name->wanted;
        start(f);
        if (name->text != NULL) {
            format_expected(text, sizeof(text), name);
            assert_refused(f, text);
            assert_stats(f, 0, 0, 1);
        } else {
            connect_ok(f);
            const char *sni = SSL_get_servername(f->pair.peer, TLSEXT_NAMETYPE_host_name);
            assert_int_equal(sni != NULL, name->sni != NULL);
            if (sni != NULL)
                assert_string_equal(sni, name->sni);
            pair_clear(&f->pair);
            assert_stats(f, 1, 0, 0);
        }
        tls_client_unref(f->client);
        f->client = NULL;
    }
}

#define VERIFY "certificate verify failed: "
#define UNKNOWN(issuer)                                                                            \
    VERIFY "unable to get local issuer certificate (issuer CN=" issuer "): check tls_ca_file"

/* Text written for people is terminated, and without control characters, whatever the certificate
 * contains. */
static void test_odd_names(void **state)
{
    struct fixture *f = *state;
    char sans[1000] = "";
    for (int i = 0; i < 30; i++)
        strcat(sans, i == 0 ? "DNS:0.example.com" : ",DNS:further.example.com");
    show(f, &(struct identity_options){.name = "x", .sans = sans, .issuer = &world.ca});
    assert_refused(f, VERIFY "hostname mismatch (expected api.example.com; the certificate is for "
                             "0.example.com, further.example.com, further.example.com, "
                             "further.example.com, further.example.com, further.example.com, "
                             "further.example.com, ...)");
    show(f, &(struct identity_options){
                .name = "x", .sans = "DNS:a\033[31m\377.com", .issuer = &world.ca});
    assert_refused(f, VERIFY "hostname mismatch (expected api.example.com; the certificate is for "
                             "a?[31m?.com)");
    show(f, &(struct identity_options){.name = "a\nb", .sans = "DNS:api.example.com"});
    assert_refused(f, VERIFY "self-signed certificate (issuer CN=a\\0Ab): check tls_ca_file");
}

/* The text ends with a date of the peer's certificate. */
static void assert_refused_with_date(struct fixture *f, const char *front,
                                     const ASN1_TIME *(*get)(const X509 *certificate))
{
    char text[256], date[32];
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(get(SSL_CTX_get0_certificate(f->context)), &tm), 1);
    assert_true(strftime(date, sizeof(date), "%Y-%m-%d", &tm) > 0);
    snprintf(text, sizeof(text), "%s%s)", front, date);
    assert_refused(f, text);
}

static void test_certificate_is_out_of_its_time(void **state)
{
    struct fixture *f = *state;
    struct identity_options options = {
        .name = "x", .sans = "DNS:api.example.com", .issuer = &world.ca};
    options.from = -900;
    options.to = -400;
    show(f, &options);
    assert_refused_with_date(f, VERIFY "certificate has expired (CN=x on ", X509_get0_notAfter);
    options.from = 400;
    options.to = 900;
    show(f, &options);
    assert_refused_with_date(f, VERIFY "certificate is not yet valid (CN=x before ",
                             X509_get0_notBefore);
}

static void test_self_signed(void **state)
{
    struct fixture *f = *state;
    show(f, &(struct identity_options){.name = "x", .sans = "DNS:api.example.com"});
    assert_refused(f, VERIFY "self-signed certificate (issuer CN=x): check tls_ca_file");
}

static void test_chain_that_begins_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct identity other;
    identity_make(&other, &(struct identity_options){.name = "Other CA", .ca = true});
    show(f,
         &(struct identity_options){.name = "x", .sans = "DNS:api.example.com", .issuer = &other});
    assert_refused(f, UNKNOWN("Other CA"));
    identity_clear(&other);
}

/* Shows a certificate that the CA signed through an intermediate CA. */
static void show_through(struct fixture *f, bool issuer_is_ca, bool with_issuer)
{
    struct identity between, leaf;
    const struct identity_options issuer = {
        .name = "Between", .ca = issuer_is_ca, .issuer = &world.ca};
    const struct identity_options options = {
        .name = "x", .sans = "DNS:api.example.com", .issuer = &between};
    identity_make(&between, &issuer);
    identity_make(&leaf, &options);
    f->context = tls_peer_context(&leaf, with_issuer ? &between : NULL);
    identity_clear(&leaf);
    identity_clear(&between);
}

static void test_intermediate(void **state)
{
    struct fixture *f = *state;
    show_through(f, true, true);
    visit(f);
}

static void test_intermediate_missing(void **state)
{
    struct fixture *f = *state;
    show_through(f, true, false);
    assert_refused(f, UNKNOWN("Between"));
}

static void test_issuer_is_no_ca(void **state)
{
    struct fixture *f = *state;
    show_through(f, false, true);
    assert_refused(f, VERIFY "invalid CA certificate");
}

/* The file of trusted certificates holds only this one. */
static void trust(struct fixture *f, const struct identity *identity, char path[96])
{
    static int number;
    char name[32];
    snprintf(name, sizeof(name), "trusted-%d", ++number);
    f->options.ca_file = world_path(&world, name, path);
    identity_write_certificate(identity, path);
    tls_client_unref(f->client);
    f->client = NULL;
}

/* A certificate in tls_ca_file is trusted, whoever signed it: the chain need not continue above
 * it. */
static void test_trusted_intermediate(void **state)
{
    struct fixture *f = *state;
    struct identity between, leaf;
    char path[96];
    const struct identity_options issuer = {.name = "Between", .ca = true, .issuer = &world.ca};
    identity_make(&between, &issuer);
    identity_make(&leaf, &(struct identity_options){
                             .name = "x", .sans = "DNS:api.example.com", .issuer = &between});
    f->context = tls_peer_context(&leaf, NULL);
    trust(f, &between, path);
    visit(f);
    trust(f, &leaf, path);
    visit(f);
    f->options.server_name = "other.example.com"; /* the name is checked all the same */
    trust(f, &leaf, path);
    assert_refused(f, "certificate verify failed: hostname mismatch (expected other.example.com; "
                      "the certificate is for api.example.com)");
    f->options.server_name = "api.example.com";
    trust(f, &world.good, path);
    assert_refused(f, UNKNOWN("Between"));
    identity_clear(&leaf);
    identity_clear(&between);
}

/* It may be trusted, but it is not a CA. */
static void test_trusted_issuer_is_no_ca(void **state)
{
    struct fixture *f = *state;
    char path[96];
    show(f, &(struct identity_options){
                .name = "x", .sans = "DNS:api.example.com", .issuer = &world.good});
    trust(f, &world.good, path);
    assert_refused(f, VERIFY "invalid CA certificate");
}

/* The system's store requires a root. */
static void test_intermediate_in_the_system_store(void **state)
{
    struct fixture *f = *state;
    char path[96];
    trust(f, &world.good, path);
    f->options.ca_file = "";
    assert_int_equal(setenv("SSL_CERT_FILE", path, 1), 0);
    start(f);
    unsetenv("SSL_CERT_FILE");
    assert_refused(f, UNKNOWN("Test CA"));
}

/* The system's store does not know the tests' CA; the variable replaces the system's. */
static void test_system_store(void **state)
{
    struct fixture *f = *state;
    f->options.ca_file = "";
    assert_refused(f, UNKNOWN("Test CA"));
    tls_client_unref(f->client);
    assert_int_equal(setenv("SSL_CERT_FILE", world.ca_file, 1), 0);
    start(f);
    unsetenv("SSL_CERT_FILE");
    visit(f);
}

static void test_no_verification(void **state)
{
    struct fixture *f = *state;
    show(f, &(struct identity_options){.name = "x", .from = -3, .to = -1});
    f->options.verify = false;
    f->options.ca_file = "";
    connect_ok(f);
    assert_string_equal(SSL_get_servername(f->pair.peer, TLSEXT_NAMETYPE_host_name),
                        "api.example.com");
    pair_clear(&f->pair);
}

/* Versions and ALPN */

static void test_versions(void **state)
{
    struct fixture *f = *state;
    connect_ok(f);
    assert_int_equal(SSL_version(f->pair.peer), TLS1_3_VERSION);
    pair_clear(&f->pair);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    connect_ok(f);
    assert_int_equal(SSL_version(f->pair.peer), TLS1_2_VERSION);
    pair_clear(&f->pair);
    assert_stats(f, 2, 0, 0);
}

static void test_version_too_old(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_min_proto_version(f->context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(f->context, TLS1_1_VERSION);
    SSL_CTX_set_security_level(f->context, 0);
    assert_refused(f, "alert from the upstream: protocol version");
    assert_stats(f, 0, 0, 1);
}

static void test_min_version(void **state)
{
    struct fixture *f = *state;
    f->options.min_version = "1.3";
    visit(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    assert_refused(f, "alert from the upstream: protocol version");
}

static const unsigned char *wanted_protocol;

/* Chooses what the test specifies, offered or not. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *length,
                           const unsigned char *in, unsigned in_length, void *arg)
{
    (void)ssl;
    (void)arg;
    assert_int_equal(in_length, 9);
    assert_memory_equal(in, "\x08http/1.1", 9);
    if (wanted_protocol == NULL)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = wanted_protocol;
    *length = (unsigned char)strlen((const char *)wanted_protocol);
    return SSL_TLSEXT_ERR_OK;
}

static void test_alpn(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_alpn_select_cb(f->context, choose_protocol, NULL);
    wanted_protocol = (const unsigned char *)"http/1.1";
    visit(f);
    wanted_protocol = (const unsigned char *)"h2";
    assert_refused(f, "the upstream chose a protocol other than http/1.1");
    wanted_protocol = (const unsigned char *)"http/1.0";
    assert_refused(f, "the upstream chose a protocol other than http/1.1");
    wanted_protocol = NULL;
    assert_refused(f, "alert from the upstream: no application protocol");
    assert_stats(f, 1, 0, 3);
}

static void test_no_alpn_for_opaque_bytes(void **state)
{
    struct fixture *f = *state;
    f->options.alpn = NULL;
    prepare(f);
    SSL_CTX_set_alpn_select_cb(f->context, choose_protocol, NULL); /* not requested */
    wanted_protocol = NULL;
    visit(f);
}

/* Peers that do not do TLS */

static void begin_raw(struct fixture *f)
{
    prepare(f);
    pair_make(&f->pair, f->client, f->context);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_WANTS_READ);
}

static void assert_raw_end(struct fixture *f, const char *text)
{
    enum tls_result result = TLS_WANTS_READ;
    while (result == TLS_WANTS_READ) {
        pair_await(&f->pair);
        result = stream_handshake(&f->pair.stream);
    }
    assert_int_equal(result, TLS_FAILED);
    assert_string_equal(stream_failure(&f->pair.stream), text);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_FAILED);
    assert_stats(f, 0, 0, 1);
    pair_clear(&f->pair);
}

static void test_not_tls(void **state)
{
    struct fixture *f = *state;
    const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    begin_raw(f);
    assert_int_equal(send(f->pair.fd, answer, strlen(answer), 0), strlen(answer));
    assert_raw_end(f, "the upstream does not speak TLS");
}

static void test_closed_in_the_handshake(void **state)
{
    struct fixture *f = *state;
    begin_raw(f);
    tls_peer_close(&f->pair);
    assert_raw_end(f, "the upstream closed the connection during the handshake");
}

static void test_reset_in_the_handshake(void **state)
{
    struct fixture *f = *state;
    begin_raw(f);
    tls_peer_reset(&f->pair);
    assert_raw_end(f, "Connection reset by peer during the handshake");
}

static void test_close_notify_in_the_handshake(void **state)
{
    struct fixture *f = *state;
    const char notify[] = {21, 3, 3, 0, 2, 1, 0};
    begin_raw(f);
    assert_int_equal(send(f->pair.fd, notify, sizeof(notify), 0), sizeof(notify));
    assert_raw_end(f, "the upstream closed the connection during the handshake");
}

static void test_handshake_given_up(void **state)
{
    struct fixture *f = *state;
    begin_raw(f);
    pair_clear(&f->pair);
    assert_stats(f, 0, 0, 0);
}

/* How OpenSSL's own errors look: they must not be taken for an alert of the upstream. */
static void test_trouble_of_our_own(void **state)
{
    static const struct {
        int reason;
        const char *text;
        enum tls_fault fault;
    } cases[] = {
        {ERR_R_MALLOC_FAILURE, "malloc failure", TLS_FAULT_PROTOCOL},
        {ERR_R_INTERNAL_ERROR, "internal error", TLS_FAULT_PROTOCOL},
        {ERR_R_EVP_LIB, "EVP lib", TLS_FAULT_PROTOCOL},
        {SSL_AD_REASON_OFFSET + SSL_AD_INTERNAL_ERROR, "alert from the upstream: internal error",
         TLS_FAULT_ALERT},
        {SSL_AD_REASON_OFFSET + UINT8_MAX, "alert from the upstream: number 255", TLS_FAULT_ALERT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls tls = {0};
        assert_int_equal(tls_fault(&tls), TLS_FAULT_NONE);
        ERR_raise(ERR_LIB_SSL, cases[i].reason);
        tls_text_failure(&tls, SSL_ERROR_SSL, 0);
        assert_string_equal(tls.failure, cases[i].text);
        assert_int_equal(tls_fault(&tls), cases[i].fault);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

/* The kernel's error for a connection that the upstream rejected first does not say everything. */
static void test_alert_behind_an_end(void **state)
{
    struct tls tls = {0};
    (void)state;
    tls_text_failure(&tls, SSL_ERROR_SYSCALL, ECONNRESET);
    assert_int_equal(tls_fault(&tls), TLS_FAULT_ENDED);
    tls_text_alert(&tls, SSL_AD_UNKNOWN_CA);
    assert_string_equal(tls.failure, "alert from the upstream: unknown ca");
    assert_int_equal(tls_fault(&tls), TLS_FAULT_ALERT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_setup, tls_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_alert_behind_an_end),
        TEST(test_odd_names),
        TEST(test_certificate_is_out_of_its_time),
        TEST(test_self_signed),
        TEST(test_chain_that_begins_elsewhere),
        TEST(test_intermediate),
        TEST(test_intermediate_missing),
        TEST(test_issuer_is_no_ca),
        TEST(test_trusted_intermediate),
        TEST(test_trusted_issuer_is_no_ca),
        TEST(test_intermediate_in_the_system_store),
        TEST(test_system_store),
        TEST(test_no_verification),
        TEST(test_versions),
        TEST(test_version_too_old),
        TEST(test_min_version),
        TEST(test_alpn),
        TEST(test_no_alpn_for_opaque_bytes),
        TEST(test_not_tls),
        TEST(test_closed_in_the_handshake),
        TEST(test_reset_in_the_handshake),
        TEST(test_close_notify_in_the_handshake),
        TEST(test_handshake_given_up),
        cmocka_unit_test(test_trouble_of_our_own),
    };
    return cmocka_run_group_tests(tests, tls_make_world, tls_clear_world);
}
