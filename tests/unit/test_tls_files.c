/* SPDX-License-Identifier: ISC */
/* Client certificates of TLS, and mistakes in the files that the settings name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/tls_fixture.h"

/* Client certificates */

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

static void ask_certificate(struct fixture *f, int version, bool insist)
{
    f->context = tls_peer_context(&world.good, NULL);
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

/* Files of a client certificate that is valid now, with the one above it. */
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

/* RFC 8446 4.6.2: an upstream may ask for it once it sees what is requested. */
static void test_client_certificate_after_the_handshake(void **state)
{
    struct fixture *f = *state;
    write_client("later.pem", "later.key", 0, 0);
    use_certificate(f, "later.pem", "later.key");
    f->context = tls_peer_context(&world.good, NULL);
    SSL_CTX_set_verify(f->context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, accept_any);
    connect_ok(f);
    assert_null(SSL_get0_peer_certificate(f->pair.peer));
    assert_int_equal(SSL_verify_client_post_handshake(f->pair.peer), 1);
    assert_int_equal(SSL_do_handshake(f->pair.peer), 1);
    tls_peer_send(&f->pair, "who is it?");
    pair_expect(&f->pair, "who is it?"); /* which reads on through the request */
    assert_int_equal(stream_write(&f->pair.stream, "me", 2), 2);
    tls_peer_expect(&f->pair, "me");
    assert_non_null(SSL_get0_peer_certificate(f->pair.peer));
    pair_clear(&f->pair);
}

/* A client without a certificate does not announce that it can be asked. */
static void test_no_client_certificate_after_the_handshake(void **state)
{
    struct fixture *f = *state;
    f->context = tls_peer_context(&world.good, NULL);
    SSL_CTX_set_verify(f->context, SSL_VERIFY_PEER | SSL_VERIFY_POST_HANDSHAKE, accept_any);
    connect_ok(f);
    assert_int_equal(SSL_verify_client_post_handshake(f->pair.peer), 0);
    pair_clear(&f->pair);
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

/* The client has finished when the upstream rejects it. */
static void test_client_certificate_missing_1_3(void **state)
{
    struct fixture *f = *state;
    char byte;
    ssize_t n;
    ask_certificate(f, TLS1_3_VERSION, true);
    connect_ok(f);
    tls_peer_flush(&f->pair);
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
    assert_mistake(f, TLS_OPTION_CA_FILE, "Is a directory");
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
    char expired[96];
    time_t end = time(NULL) - 86400;
    write_client("old.pem", "old.key", -3, -1);
    use_certificate(f, "old.pem", "old.key");
    f->client = tls_client_new(&f->options, &mistake);
    assert_non_null(f->client);
    assert_int_equal(mistake.option, TLS_OPTION_CERT_FILE);
    strftime(expired, sizeof(expired), "the certificate of CN=legacy client expired on %Y-%m-%d",
             gmtime(&end));
    assert_string_equal(mistake.text, expired);
    tls_client_unref(f->client);
    write_client("new.pem", "new.key", 1, 3);
    use_certificate(f, "new.pem", "new.key");
    f->client = tls_client_new(&f->options, &mistake);
    assert_non_null(f->client);
    assert_string_equal(mistake.text, "the certificate is not valid yet");
    tls_client_unref(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_setup, tls_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_client_certificate),
        TEST(test_client_certificate_after_the_handshake),
        TEST(test_no_client_certificate_after_the_handshake),
        TEST(test_client_certificate_not_insisted_on),
        TEST(test_client_certificate_missing_1_2),
        TEST(test_client_certificate_missing_1_3),
        TEST(test_mistakes_in_the_ca_file),
        TEST(test_mistakes_in_the_certificate),
        TEST(test_mistakes_in_the_key),
        TEST(test_unreadable_files),
        TEST(test_nothing_to_verify),
        TEST(test_warnings),
    };
    return cmocka_run_group_tests(tests, tls_make_world, tls_clear_world);
}
