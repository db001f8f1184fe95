/* SPDX-License-Identifier: ISC */
/* kaproxy.ini: the TLS of a listener's upstream. Files are loaded and checked, each mistake and
 * each warning is at its line, and upstreams are the same host if their keys agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "support/ini_text.h"
#include "support/tls_world.h"

#define NOBODY 65534

/* Ends a test that waits forever. */
#define WAIT_MAX 60

static struct world world;

/* Fills the folder that is the current one during all tests. */
static void write_files(void)
{
    const struct identity_options old = {.name = "old", .from = -9, .to = -2, .issuer = &world.ca};
    const struct identity_options young = {.name = "young", .from = 2, .to = 9};
    const struct identity_options ending = {.name = "ending", .from = -9, .to = 5};
    struct identity identity;

    identity_make(&identity, &ending);
    identity_write_certificate(&identity, "ending.pem");
    identity_write_key(&identity, "ending.key", NULL);
    identity_clear(&identity);
    identity_write_certificate(&world.good, "good.pem");
    identity_write_key(&world.good, "good.key", NULL);
    identity_write_certificate(&world.good, "both.pem");
    identity_write_key(&world.good, "both.pem", NULL);
    identity_write_key(&world.good, "locked.key", "secret");
    identity_write_key(&world.ca, "other.key", NULL);
    identity_make(&identity, &old);
    identity_write_certificate(&identity, "old.pem");
    identity_write_key(&identity, "old.key", NULL);
    identity_clear(&identity);
    identity_make(&identity, &young);
    identity_write_certificate(&identity, "young.pem");
    identity_write_key(&identity, "young.key", NULL);
    identity_clear(&identity);
    FILE *out = fopen("text.pem", "w");
    assert_non_null(out);
    fputs("This is no certificate.\n", out);
    fclose(out);
    close(open("empty.pem", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static int set_up(void **state)
{
    (void)state;
    alarm(WAIT_MAX);
    world_make(&world);
    assert_int_equal(chdir(world.folder), 0);
    write_files();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    world_clear(&world);
    return 0;
}

static void test_defaults(void **state)
{
    struct config *config = ini_load(HTTPS_LISTENER);
    const struct config_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->upstream.port, 443);
    assert_int_equal(listener->reuse, REUSE_FRAMED);
    assert_string_equal(listener->tls_ca_file, "");
    assert_true(listener->tls_verify);
    assert_string_equal(listener->tls_server_name, "");
    assert_string_equal(listener->tls_cert_file, "");
    assert_string_equal(listener->tls_key_file, "");
    assert_string_equal(listener->tls_min_version, "1.2");
    assert_true(listener->tls_close_notify);
    assert_true(endpoint_has_tls(&listener->upstream));
    config_unref(config);
}

static void test_plain(void **state)
{
    struct config *config =
        ini_load(LISTENER "[listener b]\nlisten=127.0.0.1:81\nupstream=http://x\n"
                          "[listener c]\nlisten=127.0.0.1:82\nupstream=tls+c://x:1\nreuse=never\n");

    (void)state;
    assert_false(endpoint_has_tls(&config->listeners[0].upstream));
    assert_false(endpoint_has_tls(&config->listeners[1].upstream));
    assert_true(endpoint_has_tls(&config->listeners[2].upstream));
    config_unref(config);
}

static void test_print(void **state)
{
    static const char keys[] =
        "tls_ca_file = ca.pem\ntls_verify = no\ntls_server_name = ::1\ntls_cert_file = good.pem\n"
        "tls_key_file = good.key\ntls_min_version = 1.3\ntls_close_notify = optional\n";
    char source[400];

    (void)state;
    snprintf(source, sizeof(source), "%s%s", HTTPS_LISTENER, keys);
    struct config *config = ini_load(source);
    assert_string_equal(config->listeners[0].tls_server_name, "::1");
    assert_false(config->listeners[0].tls_verify);
    assert_false(config->listeners[0].tls_close_notify);
    char *text = ini_print(config);
    assert_non_null(strstr(text, keys));
    config_unref(config);
    config = ini_load(text);
    char *again = ini_print(config);
    assert_string_equal(again, text);
    config_unref(config);
    free(text);
    free(again);
}

/* One line each, in a listener added to the first one. */
static void test_sharing(void **state)
{
    static const struct {
        const char *keys;
        bool shared;
    } cases[] = {
        {"upstream=https://x:443\n", true},
        {"upstream=https://x\nreuse=never\nhost=client\npool=p\nidle_timeout=1\n", true},
        {"upstream=https://x\ntls_server_name=x\n", true},
        {"upstream=https://x\ntls_verify=yes\ntls_min_version=1.2\n", true},
        {"upstream=https://x\ntls_server_name=y\n", false},
        {"upstream=https://x\ntls_verify=no\n", false},
        {"upstream=https://x\ntls_ca_file=ca.pem\n", false},
        {"upstream=https://x\ntls_min_version=1.3\n", false},
        {"upstream=https://x\ntls_close_notify=required\n", true},
        {"upstream=https://x\ntls_close_notify=optional\n", false},
        {"upstream=https://x\ntls_cert_file=good.pem\ntls_key_file=good.key\n", false},
        {"upstream=https://x:444\n", false},
        {"upstream=https://y\ntls_server_name=x\n", false},
        {"upstream=tls://x:443\nreuse=never\n", false},
        {"upstream=tls+a://x:443\nreuse=never\n", false},
        {"upstream=rediss://x:443\n", false},
    };
    char text[600];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text),
                 "[pool p]\n" HTTPS_LISTENER "[listener b]\nlisten=127.0.0.1:81\n%s",
                 cases[i].keys);
        struct config *config = ini_load(text);
        const struct endpoint *first = &config->listeners[0].upstream;
        const struct endpoint *second = &config->listeners[1].upstream;
        assert_true(endpoint_has_tls(first));
        assert_true(endpoint_has_tls(second));
        if ((endpoint_compare(first, second) == 0) != cases[i].shared)
            fail_msg("%s: shared is not %d", cases[i].keys, cases[i].shared);
        config_unref(config);
    }
}

/* Each key is considered, those of the client's certificate too. */
static void test_sharing_certificates(void **state)
{
    struct config *config =
        ini_load(HTTPS_LISTENER "tls_cert_file=good.pem\ntls_key_file=good.key\n"
                                "[listener b]\nlisten=127.0.0.1:81\nupstream=https://x\n"
                                "tls_cert_file=both.pem\ntls_key_file=good.key\n"
                                "[listener c]\nlisten=127.0.0.1:82\nupstream=https://x\n"
                                "tls_cert_file=both.pem\ntls_key_file=both.pem\n"
                                "[listener d]\nlisten=127.0.0.1:83\nupstream=https://x\n"
                                "tls_key_file=good.key\ntls_cert_file=both.pem\n");
    const struct config_listener *listeners = config->listeners;

    (void)state;
    assert_int_not_equal(endpoint_compare(&listeners[0].upstream, &listeners[1].upstream), 0);
    assert_int_not_equal(endpoint_compare(&listeners[1].upstream, &listeners[2].upstream), 0);
    assert_int_not_equal(endpoint_compare(&listeners[0].upstream, &listeners[2].upstream), 0);
    assert_int_equal(endpoint_compare(&listeners[1].upstream, &listeners[3].upstream), 0);
    config_unref(config);
}

/* A replaced file makes the upstream another host, in the next configuration; with the old content,
 * it is the same host again. */
static void test_content(void **state)
{
    static const char text[] = HTTPS_LISTENER "tls_ca_file=content.pem\n";

    (void)state;
    identity_write_certificate(&world.ca, "content.pem");
    struct config *first = ini_load(text), *second = ini_load(text);
    assert_int_equal(
        endpoint_compare(&first->listeners[0].upstream, &second->listeners[0].upstream), 0);
    config_unref(second);
    identity_write_certificate(&world.good, "content.pem"); /* after the other one */
    second = ini_load(text);
    assert_int_not_equal(
        endpoint_compare(&first->listeners[0].upstream, &second->listeners[0].upstream), 0);
    config_unref(second);
    unlink("content.pem");
    identity_write_certificate(&world.ca, "content.pem");
    second = ini_load(text);
    assert_int_equal(
        endpoint_compare(&first->listeners[0].upstream, &second->listeners[0].upstream), 0);
    config_unref(second);
    config_unref(first);
}

static void test_file_mistakes(void **state)
{
    static const struct {
        const char *keys; /* lines 4 and 5 */
        const char *said;
    } cases[] = {
        {"tls_ca_file=none.pem\n", "4: tls_ca_file: none.pem: No such file or directory\n"},
        {"tls_ca_file=ca.pem/x\n", "4: tls_ca_file: ca.pem/x: Not a directory\n"},
        {"tls_ca_file=text.pem\n", "4: tls_ca_file: text.pem: holds no certificate in PEM form\n"},
        {"tls_ca_file=empty.pem\n",
         "4: tls_ca_file: empty.pem: holds no certificate in PEM form\n"},
        {"tls_ca_file=good.key\n", "4: tls_ca_file: good.key: holds no certificate in PEM form\n"},
        {"tls_ca_file=/\n", "4: tls_ca_file: /: Is a directory\n"},
        {"tls_cert_file=/\ntls_key_file=good.key\n", "4: tls_cert_file: /: Is a directory\n"},
        {"tls_cert_file=good.pem\ntls_key_file=/\n", "5: tls_key_file: /: Is a directory\n"},
        {"tls_verify=no\ntls_ca_file=none.pem\n",
         "5: tls_ca_file: none.pem: No such file or directory\n"},
        {"tls_cert_file=none.pem\ntls_key_file=good.key\n",
         "4: tls_cert_file: none.pem: No such file or directory\n"},
        {"tls_cert_file=text.pem\ntls_key_file=good.key\n",
         "4: tls_cert_file: text.pem: holds no certificate in PEM form\n"},
        {"tls_cert_file=good.key\ntls_key_file=good.key\n",
         "4: tls_cert_file: good.key: holds no certificate in PEM form\n"},
        {"tls_cert_file=good.pem\ntls_key_file=none.key\n",
         "5: tls_key_file: none.key: No such file or directory\n"},
        {"tls_cert_file=good.pem\ntls_key_file=empty.pem\n",
         "5: tls_key_file: empty.pem: holds no private key in PEM form\n"},
        {"tls_cert_file=good.pem\ntls_key_file=good.pem\n",
         "5: tls_key_file: good.pem: holds no private key in PEM form\n"},
        {"tls_key_file=other.key\ntls_cert_file=good.pem\n",
         "4: tls_key_file: other.key: does not match the certificate\n"},
        {"tls_cert_file=good.pem\ntls_key_file=locked.key\n",
         "5: tls_key_file: locked.key: is protected by a passphrase\n"},
    };
    char text[400];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), HTTPS_LISTENER "%s", cases[i].keys);
        assert_mistakes(text, cases[i].said);
    }
}

/* root may read everything. */
static void test_unreadable(void **state)
{
    bool root = geteuid() == 0;

    (void)state;
    assert_int_equal(chmod("good.key", 0), 0);
    assert_int_equal(chmod(".", 0777), 0);
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    assert_mistake(HTTPS_LISTENER "tls_cert_file=good.pem\ntls_key_file=good.key\n", 5,
                   "tls_key_file: good.key: Permission denied");
    assert_mistake(HTTPS_LISTENER "tls_ca_file=good.key\n", 4,
                   "tls_ca_file: good.key: Permission denied");
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod("good.key", 0600), 0);
}

/* A file that can be read only once leaves nothing for the worker to load, and is not waited for;
 * each such file is reported. */
static void test_pipes(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("ca.fifo", 0600), 0);
    assert_int_equal(mkfifo("good.fifo", 0600), 0);
    assert_mistakes(HTTPS_LISTENER
                    "tls_ca_file=ca.fifo\ntls_cert_file=good.fifo\ntls_key_file=good.key\n",
                    "4: tls_ca_file: ca.fifo: is not a regular file\n"
                    "5: tls_cert_file: good.fifo: is not a regular file\n");
    assert_mistakes(HTTPS_LISTENER "tls_cert_file=good.pem\ntls_key_file=good.fifo\n",
                    "5: tls_key_file: good.fifo: is not a regular file\n");
}

static void test_all_in_one_go(void **state)
{
    (void)state;
    assert_mistakes(HTTPS_LISTENER "tls_key_file=other.key\ntls_ca_file=none\n"
                                   "tls_cert_file=good.pem\n"
                                   "[listener b]\nlisten=127.0.0.1:80\nupstream=https://x\n"
                                   "tls_cert_file=good.pem\ntls_key_file=other.key\n"
                                   "tls_ca_file=none\nhost=a/b\n",
                    "4: tls_key_file: other.key: does not match the certificate\n"
                    "5: tls_ca_file: none: No such file or directory\n"
                    "8: listen: 127.0.0.1:80 is taken by listener a on line 2 (127.0.0.1:80)\n"
                    "11: tls_key_file: other.key: does not match the certificate\n"
                    "12: tls_ca_file: none: No such file or directory\n"
                    "13: host: \"a/b\" is not upstream, client, or addr or addr:port\n");
    assert_mistakes(HTTPS_LISTENER "tls_cert_file=none\ntls_ca_file=none\n",
                    "4: tls_cert_file: tls_key_file must be given as well\n"
                    "5: tls_ca_file: none: No such file or directory\n");
}

/* A rejected value appears nowhere. */
static void test_beside_bad_values(void **state)
{
    (void)state;
    assert_mistakes(HTTPS_LISTENER "tls_server_name=a:1\ntls_min_version=1.1\ntls_verify=maybe\n"
                                   "tls_ca_file=none\n",
                    "4: tls_server_name: \"a:1\" is neither a host name nor an IP address\n"
                    "5: tls_min_version: \"1.1\" is not one of 1.2 or 1.3\n"
                    "6: tls_verify: \"maybe\" is not one of no or yes\n"
                    "7: tls_ca_file: none: No such file or directory\n");
    /* The files are checked whatever the upstream is. */
    static const char *const upstreams[] = {"https:/x", "https://x/path", "htps://x"};
    for (size_t i = 0; i < ARRAY_LEN(upstreams); i++) {
        char text[300], *said;
        snprintf(text, sizeof(text),
                 "[listener a]\nlisten=127.0.0.1:80\nupstream=%s\ntls_ca_file=none\n"
                 "tls_key_file=other.key\ntls_cert_file=good.pem\n",
                 upstreams[i]);
        assert_null(ini_load_bytes(text, strlen(text), &said));
        assert_memory_equal(said, "3: upstream: ", strlen("3: upstream: "));
        assert_string_equal(strchr(said, '\n'),
                            "\n4: tls_ca_file: none: No such file or directory\n"
                            "5: tls_key_file: other.key: does not match the certificate\n");
        free(said);
    }
    assert_mistakes("[listener a]\nlisten=127.0.0.1:80\ntls_ca_file=none\n",
                    "1: listener a: the key upstream is missing\n"
                    "3: tls_ca_file: none: No such file or directory\n");
    assert_mistake(HTTP_LISTENER "tls_ca_file=none\n", 4, "tls_ca_file: has no effect on scheme");
}

static void test_warnings(void **state)
{
    char text[500], expired[128];
    time_t ended = time(NULL) - 2 * 86400;

    (void)state;
    strftime(expired, sizeof(expired),
             "5: warning: tls_cert_file: old.pem: the certificate of CN=old expired on "
             "%Y-%m-%d\n",
             gmtime(&ended));
    snprintf(text, sizeof(text), "%stls_key_file=old.key\ntls_cert_file=old.pem\n", HTTPS_LISTENER);
    struct config *config = ini_load_warned(text, expired);
    assert_true(endpoint_has_tls(&config->listeners[0].upstream));
    config_unref(config);
    config_unref(ini_load_warned(HTTPS_LISTENER "tls_cert_file=young.pem\ntls_key_file=young.key\n",
                                 "4: warning: tls_cert_file: young.pem: the certificate is not "
                                 "valid yet\n"));
    char ends[16], warning[128];
    time_t end = time(NULL) + 5 * 86400;
    strftime(ends, sizeof(ends), "%Y-%m-%d", gmtime(&end));
    snprintf(warning, sizeof(warning),
             "4: warning: tls_cert_file: ending.pem: the certificate of CN=ending expires on %s\n",
             ends);
    config_unref(ini_load_warned(
        HTTPS_LISTENER "tls_cert_file=ending.pem\ntls_key_file=ending.key\n", warning));
    /* One is enough for listeners that are alike. */
    config_unref(ini_load_warned(HTTPS_LISTENER "tls_key_file=old.key\ntls_cert_file=old.pem\n"
                                                "[listener b]\nlisten=127.0.0.1:81\n"
                                                "upstream=https://x\n"
                                                "tls_cert_file=old.pem\ntls_key_file=old.key\n",
                                 expired));
    /* The order is that of the lines; a mistake remains one. */
    snprintf(text, sizeof(text), "%stls_key_file=old.key\ntls_cert_file=old.pem\ntimeout=x\n%s",
             HTTPS_LISTENER, "[pool]\nmax_open=x\n");
    char *said;
    assert_null(ini_load_bytes(text, strlen(text), &said));
    assert_memory_equal(said, expired, strlen(expired));
    assert_non_null(strstr(said, "\n6: timeout: "));
    assert_non_null(strstr(said, "\n8: max_open: "));
    free(said);
    snprintf(text, sizeof(text), "4: tls_ca_file: none: No such file or directory\n%s", expired);
    assert_mistakes(
        HTTPS_LISTENER "tls_ca_file=none\ntls_cert_file=old.pem\ntls_key_file=old.key\n", text);
}

#define TO(upstream) "[listener a]\nlisten=127.0.0.1:80\nupstream=" upstream "\n"

/* Few certificates are for an address, and few upstreams are addressed by one. */
static void test_upstream_is_an_address(void **state)
{
    static const char nameless[] = "3: warning: upstream: its certificate must be for the IP "
                                   "address ::1; if it is for a name, set tls_server_name\n";
    (void)state;
    config_unref(ini_load_warned(TO("https://[::1]"), nameless));
    config_unref(ini_load_warned(TO("tls://[::1]:1") "reuse=never\n", nameless));
    config_unref(ini_load(TO("https://[::1]") "tls_verify=no\n"));
    config_unref(ini_load(TO("https://localhost") "tls_server_name=x\n"));
    config_unref(ini_load_warned(TO("https://127.0.0.1:8443") "tls_server_name=api.example.com\n",
                                 "4: warning: tls_server_name: the upstream receives its address, "
                                 "127.0.0.1:8443, as Host; to "
                                 "send the name, set host = api.example.com\n"));
    config_unref(ini_load(TO("https://[::1]") "tls_server_name=x\nhost=x\n"));
    config_unref(ini_load(TO("https://[::1]") "tls_server_name=x\nhost=client\n"));
    config_unref(ini_load(TO("https://[::1]") "tls_server_name=::2\n"));
    config_unref(ini_load(TO("tls://[::1]:1") "tls_server_name=x\nreuse=never\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_sharing_certificates),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_file_mistakes),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_all_in_one_go),
        cmocka_unit_test(test_beside_bad_values),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_upstream_is_an_address),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
