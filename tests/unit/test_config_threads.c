/* SPDX-License-Identifier: ISC */
/* A configuration is loaded in a thread while others do the same and read existing ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <unistd.h>

#include "config/config.h"
#include "support/ini_text.h"
#include "support/tls_world.h"

#define LOADS 20

/* Users and groups, times, words, addresses, certificates. */
#define GOOD                                                                                       \
    "[kaproxy]\nuser=root\nlog=/tmp/x.log\nresolver=127.0.0.1\n[admin]\nlisten=unix:/tmp/a.sock\n" \
    "socket_user=daemon\nsocket_group=daemon\n[pool]\nkeep_alive=500ms\n[listener a]\n"            \
    "listen=unix:/tmp/b.sock\nsocket_user=nobody\nsocket_group=daemon\nupstream=https://x\n"       \
    "tls_ca_file=ca.pem\ntls_cert_file=good.pem\ntls_key_file=good.key\n"
#define BAD                                                                                        \
    "[kaproxy]\nuser=no-such-user\nlog_level=loud\n[listener a]\nlisten=here\n"                    \
    "socket_group=no-such-group\nupstream=https://x\ntls_ca_file=missing.pem\n"

static struct world world;
static uid_t daemon_uid, nobody_uid;
static gid_t daemon_gid;

struct loader {
    const char *file;
    bool good;
    atomic_bool ended;
    unsigned mistakes;
    char *printed; /* of the first one */
};

static int set_up(void **state)
{
    (void)state;
    world_make(&world);
    assert_int_equal(chdir(world.folder), 0);
    identity_write_certificate(&world.ca, "ca.pem");
    identity_write_certificate(&world.good, "good.pem");
    identity_write_key(&world.good, "good.key", NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    world_clear(&world);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, true);
    assert_int_equal(fclose(file), 0);
}

/* Not another thread's, which is looked up at the same time. */
static bool has_its_users(const struct config *config)
{
    const struct socket_file *pages = &config->admin.socket.file;
    const struct socket_file *clients = &config->listeners[0].socket.file;
    return pages->uid == daemon_uid && pages->gid == daemon_gid && clients->uid == nobody_uid &&
           clients->gid == daemon_gid;
}

/* Assertions are for the main thread. */
static bool load(struct loader *loader, char **said, char **printed)
{
    size_t size;
    FILE *errors = open_memstream(said, &size);
    struct config *config = config_load(loader->file, errors);
    bool loaded = config != NULL;
    if (loaded && !has_its_users(config))
        loader->mistakes++;
    fclose(errors);
    *printed = loaded ? ini_print(config) : strdup(*said);
    config_unref(config);
    return loaded;
}

static void *run(void *arg)
{
    struct loader *loader = arg;
    for (int i = 0; i < LOADS; i++) {
        char *said, *printed;
        if (load(loader, &said, &printed) != loader->good)
            loader->mistakes++;
        if (loader->printed == NULL)
            loader->printed = strdup(printed);
        else if (strcmp(loader->printed, printed) != 0)
            loader->mistakes++;
        free(said);
        free(printed);
    }
    atomic_store(&loader->ended, true);
    return NULL;
}

static void test_loads_side_by_side(void **state)
{
    struct loader loaders[] = {{.file = "good.ini", .good = true},
                               {.file = "bad.ini"},
                               {.file = "good.ini", .good = true}};
    pthread_t threads[ARRAY_LEN(loaders)];
    char *said;
    unsigned reads = 0;
    (void)state;
    daemon_uid = getpwnam("daemon")->pw_uid;
    nobody_uid = getpwnam("nobody")->pw_uid;
    daemon_gid = getgrnam("daemon")->gr_gid;
    write_file("good.ini", GOOD);
    write_file("bad.ini", BAD);
    struct config *config = ini_load_bytes(GOOD, strlen(GOOD), &said);
    assert_non_null(config);
    char *expected = ini_print(config);
    for (size_t i = 0; i < ARRAY_LEN(loaders); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &loaders[i]), 0);
    while (!atomic_load(&loaders[0].ended) || !atomic_load(&loaders[1].ended) ||
           !atomic_load(&loaders[2].ended)) {
        char *printed = ini_print(config_ref(config));
        config_unref(config);
        assert_string_equal(printed, expected);
        free(printed);
        reads++;
    }
    for (size_t i = 0; i < ARRAY_LEN(loaders); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(loaders[i].mistakes, 0);
    }
    assert_string_equal(loaders[0].printed, expected);
    assert_string_equal(
        loaders[1].printed,
        "bad.ini:2: user: there is no user \"no-such-user\" on this system\n"
        "bad.ini:3: log_level: \"loud\" is not one of error, warning, notice, info or debug\n"
        "bad.ini:5: listen: \"here\": the port is missing: write addr:port, [v6]:port or "
        "unix:/path\n"
        "bad.ini:6: socket_group: there is no group \"no-such-group\" on this system\n"
        "bad.ini:8: tls_ca_file: missing.pem: No such file or directory\n");
    assert_true(reads > 0);
    for (size_t i = 0; i < ARRAY_LEN(loaders); i++)
        free(loaders[i].printed);
    free(expected);
    free(said);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads_side_by_side),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
