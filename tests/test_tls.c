/* TLS settings and handshakes: what is verified, what is refused and in which words, which sessions
 * are resumed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls_world.h"

/* Ends a test that waits for ever. */
#define PATIENCE 120

struct fixture {
    struct world world;
    struct tls_options options;
    struct tls_client *client;
    SSL_CTX *context; /* the peer's */
    struct pair pair;
};

/* One world for all: nothing of it changes. */
static struct world world;

static int make_world(void **state)
{
    (void)state;
    world_make(&world);
    return 0;
}

static int clear_world(void **state)
{
    (void)state;
    world_clear(&world);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    alarm(PATIENCE);
    f->options = (struct tls_options){.server_name = "api.example.com",
                                      .verify = true,
                                      .ca_file = world.ca_file,
                                      .cert_file = "",
                                      .key_file = "",
                                      .min_version = "1.2",
                                      .http = true};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tls_client_free(f->client);
    SSL_CTX_free(f->context);
    free(f);
    return 0;
}

static void start(struct fixture *f)
{
    struct tls_mistake mistake;
    f->client = tls_client_new(&f->options, &mistake);
    assert_string_equal(mistake.text, "");
    assert_non_null(f->client);
}

/* Makes client and peer as far as the test has not. */
static void prepare(struct fixture *f)
{
    if (f->client == NULL)
        start(f);
    if (f->context == NULL)
        f->context = peer_context(&world.good, NULL);
}

static void assert_stats(struct fixture *f, unsigned full, unsigned resumed, unsigned failed)
{
    struct tls_stats stats;
    tls_client_get_stats(f->client, &stats);
    assert_int_equal(stats.full, full);
    assert_int_equal(stats.resumed, resumed);
    assert_int_equal(stats.failed, failed);
}

/* Connects, and leaves the pair open. */
static void connect_ok(struct fixture *f)
{
    prepare(f);
    pair_make(&f->pair, f->client, f->context);
    enum tls_result result = pair_handshake(&f->pair);
    assert_string_equal(stream_failure(&f->pair.stream), "");
    assert_int_equal(result, TLS_DONE);
}

/* A whole connection: the tickets behind the handshake are taken. */
static void visit(struct fixture *f)
{
    connect_ok(f);
    peer_send(&f->pair, "hello");
    pair_expect(&f->pair, "hello");
    pair_clear(&f->pair);
}

static void assert_refused(struct fixture *f, const char *text)
{
    prepare(f);
    pair_make(&f->pair, f->client, f->context);
    assert_int_equal(pair_handshake(&f->pair), TLS_FAILED);
    assert_string_equal(stream_failure(&f->pair.stream), text);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_FAILED);
    pair_clear(&f->pair);
}

/* The peer shows this certificate from now on. */
static void show(struct fixture *f, const struct identity_options *options)
{
    struct identity identity;
    identity_make(&identity, options);
    SSL_CTX_free(f->context);
    f->context = peer_context(&identity, NULL);
    identity_clear(&identity);
}

/* Names and chains */

struct name_case {
    const char *wanted, *sans;
    const char *sni;  /* that the peer is told; NULL: none */
    const char *text; /* NULL: accepted */
};

#define MISMATCH "certificate verify failed: hostname mismatch (wanted %s)"
#define NOT_IT   "certificate verify failed: IP address mismatch (wanted %s)"

static const struct name_case names[] = {
    {"api.example.com", "DNS:api.example.com", "api.example.com", NULL},
    {"api.example.com.", "DNS:api.example.com", "api.example.com", NULL},
    {"API.example.com", "DNS:api.example.com", "API.example.com", NULL},
    {"api.example.com", "DNS:*.example.com", "api.example.com", NULL},
    {"api.example.com", "DNS:other.example.com,DNS:api.example.com", "api.example.com", NULL},
    {"127.0.0.1", "IP:127.0.0.1", NULL, NULL},
    {"::1", "IP:::1", NULL, NULL},
    {"fe80::1%lo", "IP:fe80::1", NULL, NULL},
    {"api.example.com", "DNS:other.example.com", "api.example.com", MISMATCH},
    {"a.b.example.com", "DNS:*.example.com", "a.b.example.com", MISMATCH},
    {"api.example.com", "DNS:a*.example.com", "api.example.com", MISMATCH},
    {"common.example.com", NULL, "common.example.com", MISMATCH}, /* the subject does not count */
    {"127.0.0.1", "IP:127.0.0.2", NULL, NOT_IT},
    {"127.0.0.1", "DNS:127.0.0.1", NULL, NOT_IT},
    {"::1", "IP:::2", NULL, NOT_IT},
};

static void format_expected(char *text, size_t size, const struct name_case *name)
{
    snprintf(text, size,
             strcmp(name->text, NOT_IT) == 0
                 ? "certificate verify failed: IP address mismatch (wanted %s)"
                 : "certificate verify failed: hostname mismatch (wanted %s)",
             name->wanted);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct name_case *name = &names[i];
        char text[160];
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
        tls_client_free(f->client);
        f->client = NULL;
    }
}

#define VERIFY "certificate verify failed: "

static void test_certificate_is_out_of_its_time(void **state)
{
    struct fixture *f = *state;
    struct identity_options options = {
        .name = "x", .sans = "DNS:api.example.com", .issuer = &world.ca};
    options.from = -3;
    options.to = -1;
    show(f, &options);
    assert_refused(f, VERIFY "certificate has expired");
    options.from = 1;
    options.to = 3;
    show(f, &options);
    assert_refused(f, VERIFY "certificate is not yet valid");
}

static void test_self_signed(void **state)
{
    struct fixture *f = *state;
    show(f, &(struct identity_options){.name = "x", .sans = "DNS:api.example.com"});
    assert_refused(f, VERIFY "self-signed certificate");
}

static void test_chain_that_begins_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct identity other;
    identity_make(&other, &(struct identity_options){.name = "Other CA", .ca = true});
    show(f,
         &(struct identity_options){.name = "x", .sans = "DNS:api.example.com", .issuer = &other});
    assert_refused(f, VERIFY "unable to get local issuer certificate");
    identity_clear(&other);
}

/* Shows a certificate that the CA signed by way of another one. */
static void show_through(struct fixture *f, bool issuer_is_ca, bool with_issuer)
{
    struct identity between, leaf;
    const struct identity_options issuer = {
        .name = "Between", .ca = issuer_is_ca, .issuer = &world.ca};
    const struct identity_options options = {
        .name = "x", .sans = "DNS:api.example.com", .issuer = &between};
    identity_make(&between, &issuer);
    identity_make(&leaf, &options);
    f->context = peer_context(&leaf, with_issuer ? &between : NULL);
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
    assert_refused(f, VERIFY "unable to get local issuer certificate");
}

static void test_issuer_is_no_ca(void **state)
{
    struct fixture *f = *state;
    show_through(f, false, true);
    assert_refused(f, VERIFY "invalid CA certificate");
}

/* The system's store does not know the tests' CA; the variable stands for the system. */
static void test_system_store(void **state)
{
    struct fixture *f = *state;
    f->options.ca_file = "";
    assert_refused(f, VERIFY "unable to get local issuer certificate");
    tls_client_free(f->client);
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

/* Chooses what the test wants, offered or not. */
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
    f->options.http = false;
    prepare(f);
    SSL_CTX_set_alpn_select_cb(f->context, choose_protocol, NULL); /* not asked */
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
    peer_close(&f->pair);
    assert_raw_end(f, "the upstream closed the connection during the handshake");
}

static void test_reset_in_the_handshake(void **state)
{
    struct fixture *f = *state;
    begin_raw(f);
    peer_reset(&f->pair);
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

/* Resumption */

static void test_resumption_1_2(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    for (int i = 0; i < 4; i++)
        visit(f);
    assert_stats(f, 1, 3, 0);
}

/* Session identifiers, where the upstream has no tickets. */
static void test_resumption_1_2_without_tickets(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    SSL_CTX_set_options(f->context, SSL_OP_NO_TICKET);
    for (int i = 0; i < 4; i++)
        visit(f);
    assert_stats(f, 1, 3, 0);
}

static void test_resumption_1_3(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 6; i++)
        visit(f);
    assert_stats(f, 1, 5, 0);
}

/* Two tickets came with the first handshake, and each serves once. */
static void test_tickets_of_1_3_serve_once(void **state)
{
    struct fixture *f = *state;
    visit(f);
    SSL_CTX_set_num_tickets(f->context, 0);
    for (int i = 0; i < 4; i++)
        visit(f);
    assert_stats(f, 3, 2, 0);
}

/* The newest are kept. */
static void test_tickets_are_bounded(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_num_tickets(f->context, 100);
    visit(f);
    SSL_CTX_set_num_tickets(f->context, 0);
    for (int i = 0; i < 20; i++)
        visit(f);
    assert_stats(f, 13, 8, 0);
}

/* A connection without end in order is no reason to forget its session. */
static void test_resumption_after_truncation(void **state)
{
    struct fixture *f = *state;
    char byte;
    prepare(f);
    for (int i = 0; i < 4; i++) {
        SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
        connect_ok(f);
        peer_close(&f->pair);
        while (stream_read(&f->pair.stream, &byte, 1) < 0 && errno == EAGAIN)
            pair_await(&f->pair);
        pair_clear(&f->pair);
    }
    assert_stats(f, 1, 3, 0);
}

/* An upstream that has forgotten its keys. */
static void test_ticket_not_accepted(void **state)
{
    struct fixture *f = *state;
    visit(f);
    SSL_CTX_free(f->context);
    f->context = peer_context(&world.good, NULL);
    visit(f);
    visit(f);
    assert_stats(f, 2, 1, 0);
}

static void fail_with_session(struct fixture *f, int version)
{
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, version);
    visit(f);
    pair_make(&f->pair, f->client, f->context);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_WANTS_READ);
    peer_close(&f->pair);
    enum tls_result result = TLS_WANTS_READ;
    while (result == TLS_WANTS_READ) {
        pair_await(&f->pair);
        result = stream_handshake(&f->pair.stream);
    }
    assert_int_equal(result, TLS_FAILED);
    pair_clear(&f->pair);
    assert_stats(f, 1, 0, 1);
    visit(f);
    assert_stats(f, 2, 0, 1);
    visit(f);
    assert_stats(f, 2, 1, 1);
}

static void test_session_thrown_away_1_2(void **state)
{
    fail_with_session(*state, TLS1_2_VERSION);
}

static void test_session_thrown_away_1_3(void **state)
{
    fail_with_session(*state, TLS1_3_VERSION);
}

static void test_failure_without_session_keeps_them(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    pair_make(&f->pair, f->client, f->context); /* offers nothing yet */
    struct pair early = f->pair;
    stream_unwatch(&f->pair.stream);
    early = f->pair;
    visit(f);
    f->pair = early;
    assert_int_equal(stream_watch(&f->pair.stream, f->pair.loop), 0);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_WANTS_READ);
    peer_reset(&f->pair);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_FAILED);
    pair_clear(&f->pair);
    visit(f);
    assert_stats(f, 1, 1, 1);
}

/* Client certificates */

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

static void ask_certificate(struct fixture *f, int version, bool insist)
{
    f->context = peer_context(&world.good, NULL);
    SSL_CTX_set_max_proto_version(f->context, version);
    SSL_CTX_set_verify(f->context, SSL_VERIFY_PEER | (insist ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       accept_any);
}

static void use_certificate(struct fixture *f, const char *certificate, const char *key)
{
    static char paths[2][96];
    f->options.cert_file = world_path(&world, certificate, paths[0]);
    f->options.key_file = world_path(&world, key, paths[1]);
}

/* Files of a client's certificate that is valid in these days, with the one above it. */
static void write_client(const char *certificate, const char *key, long from, long to)
{
    char path[96];
    struct identity between, leaf;
    identity_make(&between,
                  &(struct identity_options){.name = "Between", .ca = true, .issuer = &world.ca});
    identity_make(&leaf, &(struct identity_options){
                             .name = "legacy client", .from = from, .to = to, .issuer = &between});
    identity_write_certificate(&leaf, world_path(&world, certificate, path));
    identity_write_certificate(&between, path);
    identity_write_key(&leaf, world_path(&world, key, path), NULL);
    identity_clear(&leaf);
    identity_clear(&between);
}

static void assert_shows_certificate(struct fixture *f)
{
    char name[64];
    connect_ok(f);
    X509 *shown = SSL_get0_peer_certificate(f->pair.peer);
    assert_non_null(shown);
    X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, name, sizeof(name));
    assert_string_equal(name, "legacy client");
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(f->pair.peer)), 1); /* above it */
    pair_clear(&f->pair);
}

static void test_client_certificate(void **state)
{
    struct fixture *f = *state;
    write_client("client.pem", "client.key", 0, 0);
    use_certificate(f, "client.pem", "client.key");
    ask_certificate(f, TLS1_2_VERSION, true);
    assert_shows_certificate(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_3_VERSION);
    assert_shows_certificate(f);
}

static void test_client_certificate_not_insisted_on(void **state)
{
    struct fixture *f = *state;
    ask_certificate(f, TLS1_3_VERSION, false);
    visit(f);
}

static void test_client_certificate_missing_1_2(void **state)
{
    struct fixture *f = *state;
    ask_certificate(f, TLS1_2_VERSION, true);
    assert_refused(f, "alert from the upstream: handshake failure");
}

/* The client has finished when the upstream says no. */
static void test_client_certificate_missing_1_3(void **state)
{
    struct fixture *f = *state;
    char byte;
    ssize_t n;
    ask_certificate(f, TLS1_3_VERSION, true);
    connect_ok(f);
    peer_flush(&f->pair);
    while ((n = stream_read(&f->pair.stream, &byte, 1)) < 0 && errno == EAGAIN)
        pair_await(&f->pair);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(n, -1);
    assert_string_equal(stream_failure(&f->pair.stream),
                        "alert from the upstream: certificate required");
    pair_clear(&f->pair);
}

/* Mistakes */

static void assert_mistake(struct fixture *f, enum tls_option option, const char *text)
{
    struct tls_mistake mistake;
    assert_null(tls_client_new(&f->options, &mistake));
    assert_string_equal(mistake.text, text);
    assert_int_equal(mistake.option, option);
}

static void write_file(const char *name, const char *text)
{
    char path[96];
    FILE *out = fopen(world_path(&world, name, path), "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void test_mistakes_in_the_ca_file(void **state)
{
    struct fixture *f = *state;
    char path[96];
    f->options.ca_file = world_path(&world, "missing.pem", path);
    assert_mistake(f, TLS_OPTION_CA_FILE, "No such file or directory");
    f->options.ca_file = world.folder;
    assert_mistake(f, TLS_OPTION_CA_FILE, "holds no certificate in PEM form");
    write_file("words.pem", "nothing of use\n");
    f->options.ca_file = world_path(&world, "words.pem", path);
    assert_mistake(f, TLS_OPTION_CA_FILE, "holds no certificate in PEM form");
    write_file("empty.pem", "");
    f->options.ca_file = world_path(&world, "empty.pem", path);
    assert_mistake(f, TLS_OPTION_CA_FILE, "holds no certificate in PEM form");
}

static void test_mistakes_in_the_certificate(void **state)
{
    struct fixture *f = *state;
    write_client("m.pem", "m.key", 0, 0);
    use_certificate(f, "missing.pem", "m.key");
    assert_mistake(f, TLS_OPTION_CERT_FILE, "No such file or directory");
    use_certificate(f, "m.key", "m.key");
    assert_mistake(f, TLS_OPTION_CERT_FILE, "holds no certificate in PEM form");
}

static void test_mistakes_in_the_key(void **state)
{
    struct fixture *f = *state;
    char path[96];
    write_client("k.pem", "k.key", 0, 0);
    write_client("l.pem", "l.key", 0, 0);
    use_certificate(f, "k.pem", "missing.key");
    assert_mistake(f, TLS_OPTION_KEY_FILE, "No such file or directory");
    use_certificate(f, "k.pem", "k.pem");
    assert_mistake(f, TLS_OPTION_KEY_FILE, "holds no private key in PEM form");
    use_certificate(f, "k.pem", "l.key");
    assert_mistake(f, TLS_OPTION_KEY_FILE, "does not match the certificate");
    identity_write_key(&world.good, world_path(&world, "p.key", path), "secret");
    use_certificate(f, "k.pem", "p.key");
    assert_mistake(f, TLS_OPTION_KEY_FILE, "is protected by a passphrase");
    use_certificate(f, "k.pem", "k.key");
    start(f);
}

/* Files that another user may not read. */
static void test_unreadable_files(void **state)
{
    struct fixture *f = *state;
    char path[96];
    const bool root = geteuid() == 0;
    write_client("u.pem", "u.key", 0, 0);
    use_certificate(f, "u.pem", "u.key");
    assert_int_equal(chmod(world.folder, 0711), 0);
    assert_int_equal(chmod(world_path(&world, "u.key", path), 0), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    assert_mistake(f, TLS_OPTION_KEY_FILE, "Permission denied");
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(world_path(&world, "u.pem", path), 0), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    assert_mistake(f, TLS_OPTION_CERT_FILE, "Permission denied");
    if (root)
        assert_int_equal(seteuid(0), 0);
}

static void test_nothing_to_verify(void **state)
{
    struct fixture *f = *state;
    f->options.server_name = "";
    assert_mistake(f, TLS_OPTION_NONE, "there is no name to verify");
}

static void test_warnings(void **state)
{
    struct fixture *f = *state;
    struct tls_mistake mistake;
    write_client("old.pem", "old.key", -3, -1);
    use_certificate(f, "old.pem", "old.key");
    f->client = tls_client_new(&f->options, &mistake);
    assert_non_null(f->client);
    assert_int_equal(mistake.option, TLS_OPTION_CERT_FILE);
    assert_string_equal(mistake.text, "the certificate has expired");
    tls_client_free(f->client);
    write_client("new.pem", "new.key", 1, 3);
    use_certificate(f, "new.pem", "new.key");
    f->client = tls_client_new(&f->options, &mistake);
    assert_non_null(f->client);
    assert_string_equal(mistake.text, "the certificate is not valid yet");
    tls_client_free(NULL);
}

/* Memory */

/* Good connections of both versions, and failures of several kinds. */
static void visit_mixed(struct fixture *f, SSL_CTX *wrong, int i)
{
    SSL_CTX_set_max_proto_version(f->context, i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
    pair_make(&f->pair, f->client, i % 5 == 1 ? wrong : f->context);
    if (i % 5 == 2) {
        peer_close(&f->pair);
    } else if (i % 5 == 3) {
        assert_int_equal(send(f->pair.fd, "HTTP/1.1 400 Bad\r\n", 18, 0), 18);
        while (stream_handshake(&f->pair.stream) == TLS_WANTS_READ)
            pair_await(&f->pair);
    } else {
        (void)!pair_handshake(&f->pair);
        (void)!stream_look(&f->pair.stream);
    }
    pair_clear(&f->pair);
}

static void test_memory_is_flat(void **state)
{
    struct fixture *f = *state;
    const char *count = getenv("KAPROXY_SLOW");
    int rounds = count != NULL && *count != '\0' ? 300 : 2000; /* sanitizers take their time */
    size_t before = 0;
    prepare(f);
    SSL_CTX *good = f->context;
    f->context = NULL;
    show(f, &(struct identity_options){.name = "x", .issuer = &world.ca});
    SSL_CTX *wrong = f->context;
    f->context = good;
    SSL_CTX_set_session_cache_mode(good, SSL_SESS_CACHE_OFF); /* the peer's own memory */
    for (int i = 0; i < rounds; i++) {
        if (i == rounds / 4)
            before = mallinfo2().uordblks;
        visit_mixed(f, wrong, i);
    }
    size_t after = mallinfo2().uordblks;
    print_message("# %zu bytes in use before, %zu after\n", before, after);
    assert_true(after < before + 64 * 1024);
    SSL_CTX_free(wrong);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_certificate_is_out_of_its_time),
        TEST(test_self_signed),
        TEST(test_chain_that_begins_elsewhere),
        TEST(test_intermediate),
        TEST(test_intermediate_missing),
        TEST(test_issuer_is_no_ca),
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
        TEST(test_resumption_1_2),
        TEST(test_resumption_1_2_without_tickets),
        TEST(test_resumption_1_3),
        TEST(test_tickets_of_1_3_serve_once),
        TEST(test_tickets_are_bounded),
        TEST(test_resumption_after_truncation),
        TEST(test_ticket_not_accepted),
        TEST(test_session_thrown_away_1_2),
        TEST(test_session_thrown_away_1_3),
        TEST(test_failure_without_session_keeps_them),
        TEST(test_client_certificate),
        TEST(test_client_certificate_not_insisted_on),
        TEST(test_client_certificate_missing_1_2),
        TEST(test_client_certificate_missing_1_3),
        TEST(test_mistakes_in_the_ca_file),
        TEST(test_mistakes_in_the_certificate),
        TEST(test_mistakes_in_the_key),
        TEST(test_unreadable_files),
        TEST(test_nothing_to_verify),
        TEST(test_warnings),
        TEST(test_memory_is_flat),
    };
    return cmocka_run_group_tests(tests, make_world, clear_world);
}
