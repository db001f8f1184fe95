/* SPDX-License-Identifier: ISC */
/* A worker's TLS clients: listeners whose upstreams are equal by value share one, each worker has
 * its own, the configuration is unchanged, and files that changed in between are noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/log.h"
#include "daemon/tls_clients.h"
#include "support/ini_text.h"
#include "support/tls_world.h"

static struct world world;
static struct config_errors findings;

/* Fills the folder that is the current one during all tests. */
static int set_up(void **state)
{
    (void)state;
    world_make(&world);
    return chdir(world.folder);
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    world_clear(&world);
    return 0;
}

static int write_files(void **state)
{
    static const char *const files[] = {"trusted.pem", "good.pem", "good.key"};
    (void)state;
    config_errors_init(&findings);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    identity_write_certificate(&world.ca, "trusted.pem");
    identity_write_certificate(&world.good, "good.pem");
    identity_write_key(&world.good, "good.key", NULL);
    return 0;
}

static int clear_findings(void **state)
{
    (void)state;
    config_errors_clear(&findings);
    return 0;
}

/* The only one. */
static void assert_found(const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_errors_write(&findings, "ini", out);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

#define LISTENER_B "[listener b]\nlisten=127.0.0.1:81\nupstream=https://x\n"
#define LISTENER_C "[listener c]\nlisten=127.0.0.1:82\nupstream=https://x\n"
#define LISTENER_D "[listener d]\nlisten=127.0.0.1:83\nupstream=http://x:443\n"

/* Whatever their pools are. */
static void test_shared(void **state)
{
    struct tls_clients clients, others;
    (void)state;
    struct config *config = ini_load("[pool p]\n" HTTPS_LISTENER "pool=p\n" LISTENER_B LISTENER_C
                                     "tls_min_version=1.3\n" LISTENER_D);
    const struct config_listener *listeners = config->listeners;
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), 0);
    assert_int_equal(clients.count, 2);
    struct endpoint endpoint = listeners[1].upstream;
    struct tls_client *client = tls_clients_find(&clients, &endpoint);
    assert_non_null(client);
    assert_ptr_equal(tls_clients_find(&clients, &listeners[0].upstream), client);
    assert_non_null(tls_clients_find(&clients, &listeners[2].upstream));
    assert_ptr_not_equal(tls_clients_find(&clients, &listeners[2].upstream), client);
    assert_null(tls_clients_find(&clients, &listeners[3].upstream));
    endpoint.port++;
    assert_null(tls_clients_find(&clients, &endpoint));
    /* Another worker's. */
    assert_int_equal(tls_clients_init(&others, config, NULL, &findings), 0);
    assert_non_null(tls_clients_find(&others, &listeners[0].upstream));
    assert_ptr_not_equal(tls_clients_find(&others, &listeners[0].upstream), client);
    tls_clients_clear(&others);
    tls_clients_clear(&clients);
    assert_int_equal(clients.count, 0);
    tls_clients_clear(&clients);
    config_unref(config);
}

static void test_without_tls(void **state)
{
    struct tls_clients clients;
    (void)state;
    struct config *config = ini_load(LISTENER);
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), 0);
    assert_int_equal(clients.count, 0);
    assert_null(tls_clients_find(&clients, &config->listeners[0].upstream));
    tls_clients_clear(&clients);
    config_unref(config);
}

/* What a client does does not affect the configuration. */
static void test_configuration_stays(void **state)
{
    struct tls_clients clients;
    struct config_listener before;
    struct pair pair;
    (void)state;
    struct config *config = ini_load(HTTPS_LISTENER "tls_ca_file=trusted.pem\n"
                                                    "tls_server_name=api.example.com\n");
    struct config whole = *config;
    char *text = ini_print(config);
    memcpy(&before, config->listeners, sizeof(before));
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), 0);
    SSL_CTX *context = tls_peer_context(&world.good, NULL);
    pair_make(&pair, tls_clients_find(&clients, &config->listeners[0].upstream), context);
    assert_int_equal(pair_handshake(&pair), TLS_DONE);
    pair_clear(&pair);
    SSL_CTX_free(context);
    const struct tls_stats *stats = tls_client_stats(clients.list[0].client);
    assert_int_equal(counter_get(&stats->handshakes[TLS_HANDSHAKE_FULL]), 1);
    assert_memory_equal(&whole, config, sizeof(whole));
    assert_memory_equal(&before, config->listeners, sizeof(before));
    char *after = ini_print(config);
    assert_string_equal(after, text);
    tls_clients_clear(&clients);
    free(text);
    free(after);
    config_unref(config);
}

static void test_file_has_changed(void **state)
{
    struct tls_clients clients;
    (void)state;
    struct config *config = ini_load(HTTPS_LISTENER LISTENER_B "tls_ca_file=trusted.pem\n");
    identity_write_certificate(&world.good, "trusted.pem"); /* after the other one */
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), -1);
    assert_found("ini:4: listener b: trusted.pem has changed since the configuration was read\n");
    tls_clients_clear(&clients);
    config_unref(config);
}

static void test_one_of_the_files_has_changed(void **state)
{
    struct tls_clients clients;
    (void)state;
    struct config *config =
        ini_load(HTTPS_LISTENER "tls_cert_file=good.pem\ntls_key_file=good.key\n");
    identity_write_certificate(&world.ca, "good.pem"); /* one more, above it */
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), -1);
    assert_found("ini:1: listener a: good.pem or good.key has changed since the configuration was "
                 "read\n");
    tls_clients_clear(&clients);
    config_unref(config);
}

static void test_file_is_gone(void **state)
{
    struct tls_clients clients;
    (void)state;
    struct config *config = ini_load(HTTPS_LISTENER LISTENER_B "tls_ca_file=trusted.pem\n");
    unlink("trusted.pem");
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), -1);
    assert_found("ini:4: listener b: tls_ca_file: trusted.pem: No such file or directory\n");
    tls_clients_clear(&clients);
    config_unref(config);
}

/* What the previous configuration has as well is the same in both. */
static void test_after_another(void **state)
{
    struct tls_clients clients, next;
    (void)state;
    struct config *config = ini_load(HTTPS_LISTENER LISTENER_B "tls_ca_file=trusted.pem\n");
    assert_int_equal(tls_clients_init(&clients, config, NULL, &findings), 0);
    identity_write_certificate(&world.good, "trusted.pem"); /* after the other one */
    struct config *after = ini_load(HTTPS_LISTENER LISTENER_B "tls_ca_file=trusted.pem\n");
    assert_int_equal(tls_clients_init(&next, after, &clients, &findings), 0);
    assert_ptr_equal(next.list[0].client, clients.list[0].client);
    assert_ptr_not_equal(next.list[1].client, clients.list[1].client);
    tls_clients_clear(&clients);
    assert_int_equal(counter_get(&tls_client_stats(next.list[0].client)->handshakes[0]), 0);
    tls_clients_clear(&next);
    config_unref(config);
    config_unref(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shared, write_files, clear_findings),
        cmocka_unit_test_setup_teardown(test_without_tls, write_files, clear_findings),
        cmocka_unit_test_setup_teardown(test_configuration_stays, write_files, clear_findings),
        cmocka_unit_test_setup_teardown(test_file_has_changed, write_files, clear_findings),
        cmocka_unit_test_setup_teardown(test_one_of_the_files_has_changed, write_files,
                                        clear_findings),
        cmocka_unit_test_setup_teardown(test_file_is_gone, write_files, clear_findings),
        cmocka_unit_test_setup_teardown(test_after_another, write_files, clear_findings),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
