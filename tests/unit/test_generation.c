/* SPDX-License-Identifier: ISC */
/* Generations: what two configurations have in common is one object; a failure leaves nothing
 * behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/generation.h"
#include "support/ini_text.h"
#include "support/sockets.h"

struct fixture {
    char folder[32], path[48]; /* of a unix socket */
    int kept[2];               /* keep ports for us, as long as no process listens */
    unsigned ports[2];
    struct generation *generation;
    struct config_errors findings;
    char *said;
    int descriptors;
};

/* The linker substitutes these for the system's and inherited.c's (--wrap). */
static bool may_chown;
static unsigned chowns;

int __wrap_fchownat(int directory, const char *path, uid_t uid, gid_t gid, int flags);
int __wrap_inherited_find(struct inherited *inherited, const struct listen_address *address,
                          const char *name, bool *is_ours);
bool __wrap_inherited_has_predecessor(const struct inherited *inherited);

int __wrap_fchownat(int directory, const char *path, uid_t uid, gid_t gid, int flags)
{
    (void)directory;
    (void)path;
    (void)uid;
    (void)gid;
    (void)flags;
    chowns++;
    errno = EPERM;
    return may_chown ? 0 : -1;
}

/* What was passed: a socket found by its address, and others by their name. */
struct inherited {
    const char *address;
    int by_address, by_name[2];
    size_t named;
    bool by_predecessor; /* else by systemd */
};

bool __wrap_inherited_has_predecessor(const struct inherited *inherited)
{
    return inherited->by_predecessor;
}

int __wrap_inherited_find(struct inherited *inherited, const struct listen_address *address,
                          const char *name, bool *is_ours)
{
    *is_ours = false;
    if (inherited == NULL)
        return -1;
    if (name == NULL) {
        bool found = strcmp(address->text, inherited->address) == 0;
        int fd = found ? inherited->by_address : -1;
        if (found)
            inherited->by_address = -1;
        return fd;
    }
    assert_string_equal(name, "a");
    return inherited->named == 2 ? -1 : inherited->by_name[inherited->named++];
}

static int bind_port(unsigned *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&in, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &length), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(log_open("/dev/null", LOG_LEVEL_ERROR), 0);
    may_chown = true;
    chowns = 0;
    snprintf(f->folder, sizeof(f->folder), "/tmp/kaproxy-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/k.sock", f->folder);
    for (size_t i = 0; i < ARRAY_LEN(f->kept); i++)
        f->kept[i] = bind_port(&f->ports[i]);
    f->descriptors = sockets_count();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    generation_free(f->generation);
    assert_int_equal(sockets_count(), f->descriptors);
    for (size_t i = 0; i < ARRAY_LEN(f->kept); i++)
        close(f->kept[i]);
    free(f->said);
    assert_int_equal(rmdir(f->folder), 0); /* sockets' files are gone */
    free(f);
    return 0;
}

/* A listener on the port with this number, and further addresses and lines. */
#define ON_PORT "[listener %s]\nreuse=quiet\nupstream=tcp://127.0.0.1:1\nlisten=127.0.0.1:%u %s\n"

static PRINTF(1, 2) char *text_of(const char *format, ...)
{
    static char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return text;
}

/* NULL, and f->said is why. */
static struct generation *make(struct fixture *f, const char *text, struct inherited *inherited)
{
    size_t size;
    free(f->said);
    f->said = NULL;
    config_errors_init(&f->findings);
    struct generation *generation =
        generation_make(ini_load(text), f->generation, inherited, &f->findings);
    FILE *out = open_memstream(&f->said, &size);
    config_errors_write(&f->findings, "k", out);
    fclose(out);
    assert_true(config_errors_any(&f->findings) == (generation == NULL));
    config_errors_clear(&f->findings);
    return generation;
}

/* It takes effect. */
static void take(struct fixture *f, struct generation *generation)
{
    assert_non_null(generation);
    generation_free(f->generation);
    f->generation = generation;
}

static void assert_said(const struct fixture *f, int line, const char *words)
{
    char start[16];
    const char *at = f->said;
    snprintf(start, sizeof(start), "k:%d: ", line);
    while (at != NULL && strncmp(at, start, strlen(start)) != 0)
        at = strchr(at, '\n') == NULL ? NULL : strchr(at, '\n') + 1;
    const char *found = at == NULL ? NULL : strstr(at, words);
    if (found == NULL || found > strchr(at, '\n'))
        fail_msg("not \"%s...%s\": %s", start, words, f->said);
}

static bool is_listening(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = connect(fd, (struct sockaddr *)&in, sizeof(in));
    close(fd);
    return result == 0;
}

static unsigned mode_of(const struct fixture *f)
{
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    return st.st_mode & 07777;
}

static void test_kept(void **state)
{
    struct fixture *f = *state;
    take(f, make(f, text_of(ON_PORT, "a", f->ports[0], ""), NULL));
    assert_int_equal(f->generation->number, 1);
    struct bound_socket *socket = f->generation->sockets[0];
    struct generation *next =
        make(f,
             text_of("[listener b]\nreuse=quiet\nupstream=tcp://127.0.0.1:1\nlisten=unix:%s "
                     "127.0.0.1:%u\n[admin]\nlisten=127.0.0.1:%u\n",
                     f->path, f->ports[0], f->ports[1]),
             NULL);
    assert_non_null(next);
    assert_int_equal(next->number, 2);
    assert_int_equal(next->socket_count, 3);
    assert_int_equal(next->admin_at, 2);
    assert_ptr_equal(next->sockets[1], socket);
    take(f, next);
    assert_true(is_listening(f->ports[0]) && is_listening(f->ports[1]));
    take(f, make(f, text_of(ON_PORT, "a", f->ports[0], ""), NULL));
    assert_ptr_equal(f->generation->sockets[0], socket);
    assert_false(is_listening(f->ports[1]));
    assert_int_equal(access(f->path, F_OK), -1);
}

/* What was opened before it is closed again; every error is reported. */
static void test_in_use(void **state)
{
    struct fixture *f = *state;
    unsigned ports[2];
    int others[] = {bind_port(&ports[0]), bind_port(&ports[1])};
    take(f, make(f, text_of(ON_PORT, "a", f->ports[0], ""), NULL));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(listen(others[i], 1), 0);
    int before = sockets_count();
    assert_null(make(f,
                     text_of("[listener a]\nreuse=quiet\nupstream=tcp://127.0.0.1:1\n"
                             "listen=127.0.0.1:%u 127.0.0.1:%u unix:%s 127.0.0.1:%u\n"
                             "[admin]\nlisten=127.0.0.1:%u\n",
                             f->ports[0], f->ports[1], f->path, ports[0], ports[1]),
                     NULL));
    assert_said(f, 4, "listener a: cannot listen on 127.0.0.1:");
    assert_said(f, 4, ": Address already in use");
    assert_said(f, 6, "[admin]: cannot listen on 127.0.0.1:");
    assert_int_equal(sockets_count(), before);
    assert_int_equal(access(f->path, F_OK), -1);
    assert_true(is_listening(f->ports[0]));
    assert_false(is_listening(f->ports[1]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        close(others[i]);
}

static void test_overlap(void **state)
{
    struct fixture *f = *state;
    static const char format[] =
        "[listener a]\nreuse=quiet\nupstream=tcp://127.0.0.1:1\nlisten=0.0.0.0:%u\n";
    take(f, make(f, text_of(ON_PORT, "a", f->ports[0], ""), NULL));
    assert_null(make(f, text_of(format, f->ports[0]), NULL));
    assert_said(f, 4, "that needs a restart");
    assert_true(is_listening(f->ports[0]));
    take(f, make(f, text_of(ON_PORT, "a", f->ports[1], ""), NULL));
    take(f, make(f, text_of(format, f->ports[0]), NULL));
}

/* For a moment two would accept there. */
static void test_admin(void **state)
{
    struct fixture *f = *state;
    char *both = strdup(
        text_of(ON_PORT "[admin]\nlisten=127.0.0.1:%u\n", "a", f->ports[0], "", f->ports[1]));
    take(f, make(f, both, NULL));
    assert_null(make(f, text_of(ON_PORT, "a", f->ports[1], ""), NULL));
    assert_said(f, 4, "which is [admin]'s until this configuration is in effect: that needs a ");
    assert_null(make(f,
                     text_of("[listener b]\nreuse=quiet\nupstream=tcp://127.0.0.1:1\n"
                             "listen=unix:%s\n[admin]\nlisten=127.0.0.1:%u\n",
                             f->path, f->ports[0]),
                     NULL));
    assert_said(f, 6, "which is listener a's until this configuration is in effect");
    take(f, make(f, both, NULL));
    free(both);
}

/* Who may connect to a unix socket that stays changes immediately, and changes back if all is
 * undone. */
static void test_mode(void **state)
{
    struct fixture *f = *state;
    static const char format[] = "[listener a]\nreuse=quiet\nupstream=tcp://127.0.0.1:1\n"
                                 "listen=unix:%s\nsocket_mode=%s\n%s";
    char *before = strdup(text_of(format, f->path, "0600", ""));
    take(f, make(f, before, NULL));
    assert_int_equal(mode_of(f), 0600);
    struct generation *next = make(f, text_of(format, f->path, "0660", ""), NULL);
    assert_non_null(next);
    assert_int_equal(mode_of(f), 0660);
    generation_undo(next, f->generation);
    assert_int_equal(mode_of(f), 0600);
    take(f, make(f, text_of(format, f->path, "0660", ""), NULL));
    take(f, make(f, before, NULL));
    assert_int_equal(mode_of(f), 0600);
    assert_null(
        make(f, text_of(format, f->path, "0660", "[admin]\nlisten=unix:/nowhere/x\n"), NULL));
    assert_int_equal(mode_of(f), 0600);
    may_chown = false;
    assert_null(make(f, text_of(format, f->path, "0660", "socket_group=daemon\n"), NULL));
    assert_int_equal(chowns, 1);
    assert_said(f, 4, "cannot change who may connect to unix:");
    assert_int_equal(mode_of(f), 0600);
    free(before);
}

/* A socket that was passed for an address is not used for another one with its name. */
static void test_inherited(void **state)
{
    struct fixture *f = *state;
    unsigned port;
    char address[32];
    struct inherited inherited = {.address = address};
    snprintf(address, sizeof(address), "127.0.0.1:%u", f->ports[1]);
    inherited.by_address = bind_port(&port);
    for (size_t i = 0; i < ARRAY_LEN(inherited.by_name); i++) {
        inherited.by_name[i] = bind_port(&port);
        assert_int_equal(listen(inherited.by_name[i], 1), 0);
    }
    int fd = inherited.by_address, named[] = {inherited.by_name[0], inherited.by_name[1]};
    char more[100];
    snprintf(more, sizeof(more), "%s unix:%s", address, f->path);
    take(f, make(f, text_of(ON_PORT, "a", f->ports[0], more), &inherited));
    assert_int_equal(bound_socket_fd(f->generation->sockets[0]), named[0]);
    assert_int_equal(bound_socket_fd(f->generation->sockets[1]), fd);
    assert_int_equal(bound_socket_fd(f->generation->sockets[2]), named[1]);
    assert_false(bound_socket_has_file(f->generation->sockets[2]));
    take(f, make(f, text_of(ON_PORT, "a", f->ports[0], more), NULL));
    assert_int_equal(bound_socket_fd(f->generation->sockets[0]), named[0]);
}

/* Removed by a reload, but still open in systemd; what only a predecessor had is closed, but for a
 * unix socket whose file is not ours. */
static void test_kept_by_systemd(void **state)
{
    struct fixture *f = *state;
    char address[32], unix_address[80], line[200];
    snprintf(address, sizeof(address), "127.0.0.1:%u", f->ports[1]);
    snprintf(unix_address, sizeof(unix_address), "unix:%s", f->path);
    for (int i = 0; i < 4; i++) {
        unsigned port;
        const char *passed = i < 2 ? address : unix_address;
        struct inherited inherited = {.address = passed,
                                      .named = 2,
                                      .by_predecessor = i % 2 == 1,
                                      .by_address = bind_port(&port)};
        assert_int_equal(listen(inherited.by_address, 1), 0);
        take(f, make(f, text_of(ON_PORT, "a", f->ports[0], passed), &inherited));
        take(f, make(f, text_of(ON_PORT, "a", f->ports[0], passed), NULL));
        assert_string_equal(f->said, "");
        take(f, make(f, text_of(ON_PORT, "a", f->ports[0], ""), NULL));
        snprintf(line, sizeof(line),
                 "k: warning: nothing accepts clients of %s any more, but systemd "
                 "still listens there",
                 passed);
        if (i == 1)
            assert_string_equal(f->said, "");
        else
            assert_memory_equal(f->said, line, strlen(line));
        generation_free(f->generation);
        f->generation = NULL;
    }
}

/* Upstreams that are equal by value have the same client. */
static void test_tls(void **state)
{
    struct fixture *f = *state;
    static const char format[] =
        "[listener %s]\nlisten=127.0.0.1:%u\nupstream=https://x\ntls_server_name=%s\n"
        "[listener z]\nlisten=127.0.0.1:%u\nupstream=https://x\ntls_server_name=z\n";
    take(f, make(f, text_of(format, "a", f->ports[0], "y", f->ports[1]), NULL));
    assert_int_equal(f->generation->tls_clients.count, 2);
    struct tls_client *y = f->generation->tls_clients.list[0].client;
    struct tls_client *z = f->generation->tls_clients.list[1].client;
    take(f, make(f, text_of(format, "b", f->ports[0], "x", f->ports[1]), NULL));
    assert_int_equal(f->generation->tls_clients.count, 2);
    assert_ptr_not_equal(f->generation->tls_clients.list[0].client, y);
    assert_ptr_equal(f->generation->tls_clients.list[1].client, z);
}

/* Listeners that are unchanged, wherever they are in the file, and wherever they listen. */
static void test_unchanged(void **state)
{
    struct fixture *f = *state;
    char *both = strdup(text_of(ON_PORT ON_PORT, "a", f->ports[0], "", "b", f->ports[1], ""));
    take(f, make(f, both, NULL));
    assert_false(f->generation->unchanged[0] || f->generation->unchanged[1]);
    take(f, make(f,
                 text_of(ON_PORT ON_PORT "idle_timeout=5\n", "b", f->ports[0], "", "a", f->ports[1],
                         ""),
                 NULL));
    assert_true(f->generation->unchanged[0]);
    assert_false(f->generation->unchanged[1]);
    take(f, make(f, text_of(ON_PORT, "c", f->ports[0], ""), NULL));
    assert_false(f->generation->unchanged[0]);
    free(both);
}

/* From a file, whose name and lines appear in the messages. */
static void test_load(void **state)
{
    struct fixture *f = *state;
    char *said, name[64], start[80];
    size_t size;
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    close(other);
    other = bind_port(&f->ports[1]);
    assert_int_equal(listen(other, 1), 0);
    snprintf(name, sizeof(name), "%s/k.ini", f->folder);
    for (int i = 0; i < 3; i++) {
        FILE *file = fopen(name, "we"), *out = open_memstream(&said, &size);
        assert_true(file != NULL && out != NULL);
        fprintf(file, ON_PORT, "a", f->ports[i == 1 ? 1 : 0], "");
        if (i == 2)
            fprintf(file, "no_key=1\n");
        fclose(file);
        struct log_change *logs;
        struct generation *generation = generation_load(name, f->generation, &logs, out);
        fclose(out);
        assert_true((logs == NULL) == (generation == NULL));
        log_change_free(logs);
        snprintf(start, sizeof(start), "%s:%d: ", name, i == 1 ? 4 : 5);
        if (i == 0) {
            take(f, generation);
            assert_string_equal(said, "");
        } else {
            assert_null(generation);
            assert_memory_equal(said, start, strlen(start));
        }
        free(said);
    }
    close(other);
    unlink(name);
}

#define GENERATION_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GENERATION_TEST(test_kept),
        GENERATION_TEST(test_in_use),
        GENERATION_TEST(test_overlap),
        GENERATION_TEST(test_admin),
        GENERATION_TEST(test_mode),
        GENERATION_TEST(test_inherited),
        GENERATION_TEST(test_kept_by_systemd),
        GENERATION_TEST(test_tls),
        GENERATION_TEST(test_unchanged),
        GENERATION_TEST(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
