/* SPDX-License-Identifier: ISC */
/* Sockets passed by systemd or a predecessor: what is accepted, who gets which, and what is
 * rejected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/inherited.h"

#define FIRST_FD 3

struct fixture {
    char folder[32], path[48];
    int next; /* descriptor to pass */
    struct inherited *inherited;
    char *errors;
};

/* The program that runs the tests may have left descriptors open where ours are to be. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    for (int fd = FIRST_FD; fd < FIRST_FD + 20; fd++)
        close(fd);
    f->next = FIRST_FD;
    snprintf(f->folder, sizeof(f->folder), "/tmp/kaproxy-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/k.sock", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    inherited_free(f->inherited);
    for (int fd = FIRST_FD; fd < FIRST_FD + 20; fd++)
        close(fd);
    unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0);
    free(f->errors);
    free(f);
    return 0;
}

static void set_number(const char *name, long number)
{
    char text[32];
    snprintf(text, sizeof(text), "%ld", number);
    setenv(name, text, 1);
}

/* Makes it the next one that is passed. */
static int pass(struct fixture *f, int fd)
{
    assert_true(fd >= 0);
    if (fd != f->next) {
        assert_int_equal(dup2(fd, f->next), f->next);
        close(fd);
    }
    return f->next++;
}

static struct listen_address parse(const char *text)
{
    struct listen_address address;
    const char *error = NULL;
    assert_int_equal(listen_address_parse(&address, text, strlen(text), &error), 0);
    return address;
}

static int open_socket(const struct sockaddr *sa, socklen_t length, int type)
{
    int fd = socket(sa->sa_family, type, 0);
    assert_int_equal(bind(fd, sa, length), 0);
    return fd;
}

/* A socket that listens on any port of the loopback; its address in text. */
static int open_inet(char text[32])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    int fd = open_socket((struct sockaddr *)&in, length, SOCK_STREAM);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &length), 0);
    snprintf(text, 32, "127.0.0.1:%u", ntohs(in.sin_port));
    return fd;
}

static int open_inet6(char text[32])
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t length = sizeof(in6);
    int fd = open_socket((struct sockaddr *)&in6, length, SOCK_STREAM);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in6, &length), 0);
    snprintf(text, 32, "[::1]:%u", ntohs(in6.sin6_port));
    return fd;
}

static int open_unix(const struct fixture *f)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", f->path);
    int fd = open_socket((struct sockaddr *)&un, sizeof(un), SOCK_STREAM);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* With the sockets passed so far. */
static int take(struct fixture *f, const char *names)
{
    size_t size;
    set_number("LISTEN_PID", getpid());
    if (getenv("LISTEN_FDS") == NULL)
        set_number("LISTEN_FDS", f->next - FIRST_FD);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
    free(f->errors);
    f->errors = NULL;
    FILE *errors = open_memstream(&f->errors, &size);
    int result = inherited_take(&f->inherited, errors);
    fclose(errors);
    if (result < 0)
        assert_null(f->inherited);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    assert_null(getenv("KAPROXY_HANDOVER"));
    return result;
}

static void assert_refused(struct fixture *f, const char *names, const char *why)
{
    assert_int_equal(take(f, names), -1);
    if (strstr(f->errors, why) == NULL)
        assert_string_equal(f->errors, why);
    assert_int_equal(strncmp(f->errors, "kaproxy: ", 9), 0);
    assert_int_equal(f->errors[strlen(f->errors) - 1], '\n');
}

static int find(struct fixture *f, const char *text, const char *name)
{
    struct listen_address address = parse(text);
    bool is_ours = true;
    int fd = inherited_find(f->inherited, &address, name, &is_ours);
    assert_false(is_ours);
    listen_address_clear(&address);
    return fd;
}

static int check_left(struct fixture *f)
{
    size_t size;
    free(f->errors);
    FILE *errors = open_memstream(&f->errors, &size);
    int result = inherited_check_left(f->inherited, errors);
    fclose(errors);
    return result;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_by_address(void **state)
{
    struct fixture *f = *state;
    char inet[32], inet6[32], path[64];
    int first = pass(f, open_inet(inet));
    int second = pass(f, open_inet6(inet6));
    int third = pass(f, open_unix(f));
    snprintf(path, sizeof(path), "unix:%s", f->path);
    assert_int_equal(take(f, NULL), 0);
    for (int fd = FIRST_FD; fd < f->next; fd++)
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(find(f, "unix:/tmp/other", NULL), -1);
    assert_int_equal(find(f, path, NULL), third);
    assert_int_equal(find(f, inet6, NULL), second);
    assert_int_equal(find(f, inet, NULL), first);
    assert_int_equal(find(f, inet, NULL), -1); /* it is the caller's */
    assert_int_equal(check_left(f), 0);
    inherited_close_left(f->inherited);
    inherited_free(f->inherited);
    f->inherited = NULL;
    for (int fd = FIRST_FD; fd < f->next; fd++)
        assert_true(is_open(fd));
    assert_int_equal(access(f->path, F_OK), 0);
}

/* A wildcard is an address like any other. */
static void test_wildcard_is_equal_to_itself_alone(void **state)
{
    struct fixture *f = *state;
    char text[32];
    const char *port;
    pass(f, open_inet(text));
    port = strchr(text, ':');
    assert_int_equal(take(f, NULL), 0);
    char any[32];
    snprintf(any, sizeof(any), "0.0.0.0%s", port);
    assert_int_equal(find(f, any, NULL), -1);
    snprintf(any, sizeof(any), "[::]%s", port);
    assert_int_equal(find(f, any, NULL), -1);
    assert_int_equal(find(f, text, NULL), FIRST_FD);
}

/* Sockets with one name are for one address each, in their order; those found by their address are
 * used only for it. */
static void test_by_name(void **state)
{
    struct fixture *f = *state;
    char texts[4][32];
    for (int i = 0; i < 4; i++)
        pass(f, open_inet(texts[i]));
    assert_int_equal(take(f, "web:web:web:admin"), 0);
    assert_int_equal(find(f, texts[1], NULL), FIRST_FD + 1);
    assert_int_equal(find(f, "127.0.0.1:1", "we"), -1);
    assert_int_equal(find(f, "127.0.0.1:1", "web"), FIRST_FD);
    assert_int_equal(find(f, "127.0.0.1:2", "web"), FIRST_FD + 2);
    assert_int_equal(find(f, "127.0.0.1:3", "web"), -1);
    assert_int_equal(find(f, "127.0.0.1:4", INHERITED_ADMIN), FIRST_FD + 3);
    assert_int_equal(check_left(f), 0);
}

static void test_left_over(void **state)
{
    struct fixture *f = *state;
    char inet[32], text[400];
    pass(f, open_inet(inet));
    pass(f, open_unix(f));
    assert_int_equal(take(f, "web:other"), 0);
    assert_int_equal(check_left(f), -1);
    snprintf(text, sizeof(text),
             "kaproxy: descriptor 3 (web), passed by LISTEN_FDS, is not used: it listens on %s, "
             "and no listener has that address or this name\n"
             "kaproxy: descriptor 4 (other), passed by LISTEN_FDS, is not used: it listens on "
             "unix:%s, and no listener has that address or this name\n",
             inet, f->path);
    assert_string_equal(f->errors, text);
    inherited_free(f->inherited);
    f->inherited = NULL;
    assert_false(is_open(3));
    assert_int_equal(access(f->path, F_OK), 0); /* systemd's */
}

static void test_nothing_is_passed(void **state)
{
    struct fixture *f = *state;
    struct inherited *inherited;
    char inet[32];
    bool is_ours;
    struct listen_address address = parse("127.0.0.1:1");
    assert_int_equal(inherited_take(&inherited, stderr), 0);
    assert_null(inherited);
    /* Another process is meant, no matter who set it. */
    pass(f, open_inet(inet));
    set_number("LISTEN_PID", getppid());
    setenv("LISTEN_FDS", "nonsense", 1);
    assert_int_equal(inherited_take(&inherited, stderr), 0);
    assert_null(inherited);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_int_equal(fcntl(FIRST_FD, F_GETFD), 0);
    assert_int_equal(inherited_find(inherited, &address, NULL, &is_ours), -1);
    assert_int_equal(inherited_check_left(inherited, stderr), 0);
    assert_int_equal(inherited_control_channel(inherited), -1);
    assert_int_equal(inherited_places_channel(inherited), -1);
    inherited_close_left(inherited);
    inherited_free(inherited);
    listen_address_clear(&address);
}

static void test_no_sockets(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, ""), 0);
    assert_int_equal(check_left(f), 0);
}

/* What systemd can pass besides listening sockets. */
static void test_other_descriptors(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr *sa = (struct sockaddr *)&in;
    int pair[2], fifo[2];
    pass(f, open_socket(sa, sizeof(in), SOCK_DGRAM));
    assert_int_equal(pipe(fifo), 0);
    close(fifo[1]);
    pass(f, fifo[0]);
    pass(f, open_socket(sa, sizeof(in), SOCK_STREAM));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    close(pair[1]);
    pass(f, pair[0]);
    assert_int_equal(take(f, "a:b:c:d"), -1);
#define LINE(what)                                                                                 \
    "kaproxy: descriptor " what ", passed by LISTEN_FDS, must be a listening stream socket and "   \
    "is "
    assert_string_equal(
        f->errors,
        LINE("3 (a)") "a datagram socket (ListenDatagram=)\n" LINE("4 (b)") "not a socket\n" LINE(
            "5 (c)") "a socket that does not listen (Accept=yes?)\n" LINE("6 (d)") "a sequential "
                                                                                   "packet socket "
                                                                                   "(ListenSequenti"
                                                                                   "alPacket=)\n");
}

static void test_hostile_numbers(void **state)
{
    static const char *const bad[] = {
        "-1", "", " 1", "1 ", "0x1", "+1", "2147483647", "1e3", "99999999999999999999", "one"};
    struct fixture *f = *state;
    char inet[32];
    pass(f, open_inet(inet));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("LISTEN_FDS", bad[i], 1);
        assert_refused(f, NULL, "is not a number of descriptors");
    }
    setenv("LISTEN_FDS", "2000000000", 1);
    assert_refused(f, NULL, "LISTEN_FDS=2000000000: descriptor 4 is not open");
    assert_refused(f, "a:b", "LISTEN_FDNAMES has 2 names for 1 descriptors");
    assert_int_equal(take(f, ""), 0); /* a name, and an empty one */
}

static void test_hostile_processes(void **state)
{
    static const char *const bad[] = {"", "0", "-1", "1x", "4294967297"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct inherited *inherited;
        char text[200] = "";
        FILE *errors = fmemopen(text, sizeof(text), "w");
        setenv("LISTEN_PID", bad[i], 1);
        assert_int_equal(inherited_take(&inherited, errors), -1);
        fclose(errors);
        assert_non_null(strstr(text, "is not a process id"));
        assert_null(getenv("LISTEN_PID"));
    }
    (void)state;
}

/* Passes the channels too, and announces them. */
static void pass_channels(struct fixture *f, const char *ours)
{
    int control[2], places[2];
    char text[64];
    set_number("LISTEN_FDS", f->next - FIRST_FD);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control), 0);
    close(control[1]);
    int first = pass(f, control[0]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, places), 0);
    close(places[1]);
    int second = pass(f, places[0]);
    snprintf(text, sizeof(text), "%d:%d:%s", first, second, ours);
    setenv("KAPROXY_HANDOVER", text, 1);
}

static void test_handover(void **state)
{
    struct fixture *f = *state;
    char inet[32], path[64];
    bool is_ours;
    pass(f, open_inet(inet));
    pass(f, open_unix(f));
    pass_channels(f, "1");
    assert_int_equal(take(f, "a:b"), 0);
    assert_int_equal(fcntl(5, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(6, F_GETFD), FD_CLOEXEC);
    assert_int_equal(inherited_control_channel(f->inherited), 5);
    assert_int_equal(inherited_places_channel(f->inherited), 6);
    assert_int_equal(inherited_control_channel(f->inherited), -1);
    snprintf(path, sizeof(path), "unix:%s", f->path);
    struct listen_address address = parse(path);
    assert_int_equal(inherited_find(f->inherited, &address, NULL, &is_ours), 4);
    assert_true(is_ours);
    listen_address_clear(&address);
    assert_int_equal(check_left(f), 0); /* the other one's address is no longer in use */
    assert_true(is_open(3));
    inherited_close_left(f->inherited);
    assert_false(is_open(3));
    inherited_free(f->inherited);
    f->inherited = NULL;
    assert_true(is_open(4) && is_open(5) && is_open(6));
}

/* Their files are the predecessor's until we serve: it may have to continue. */
static void test_files_of_what_is_left(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    for (int ours = 0; ours < 2; ours++) {
        f->next = FIRST_FD;
        pass(f, open_unix(f));
        pass_channels(f, ours ? "0" : "");
        assert_int_equal(take(f, NULL), 0);
        assert_int_equal(check_left(f), 0);
        assert_int_equal(lstat(f->path, &st), 0);
        inherited_close_left(f->inherited);
        assert_int_equal(lstat(f->path, &st), ours ? -1 : 0);
        assert_false(is_open(FIRST_FD));
        inherited_free(f->inherited);
        f->inherited = NULL;
        unlink(f->path);
    }
    /* And if we never serve they stay. */
    f->next = FIRST_FD;
    pass(f, open_unix(f));
    pass_channels(f, "0");
    assert_int_equal(take(f, NULL), 0);
    inherited_free(f->inherited);
    f->inherited = NULL;
    assert_int_equal(lstat(f->path, &st), 0);
    for (int fd = FIRST_FD; fd < f->next; fd++)
        assert_false(is_open(fd));
}

static void test_hostile_handovers(void **state)
{
    static const char *const bad[] = {"",        "5",      "5:6",    "5:6",     "6:5:",
                                      "5:5:",    "3:4:",   "5:6:2",  "5:6:-1",  "5:6:1,1",
                                      "5:6:1,",  "5:6:,1", "5:6:0",  "5:6:1 ",  "-5:6:",
                                      "5:6:1,0", "5:7:",   "5:6:1:", "99:100:", "5:6:99999999999",
                                      "x:y:z",   "5::6:",  "5 :6:",  "0:1:"};
    struct fixture *f = *state;
    char inet[32];
    pass(f, open_inet(inet));
    pass(f, open_unix(f));
    pass_channels(f, "");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("LISTEN_FDS", "2", 1);
        setenv("KAPROXY_HANDOVER", bad[i], 1);
        assert_refused(f, NULL, "does not describe a handover");
    }
    setenv("LISTEN_FDS", "1", 1); /* and a listening socket is in a channel's place */
    setenv("KAPROXY_HANDOVER", "4:5:", 1);
    assert_refused(f, NULL, "does not describe a handover");
}

/* A script that starts kaproxy as its child cannot take over. */
static void test_handover_to_another_process(void **state)
{
    struct fixture *f = *state;
    struct inherited *inherited;
    char text[300] = "";
    FILE *errors = fmemopen(text, sizeof(text), "w");
    set_number("LISTEN_PID", getppid());
    setenv("KAPROXY_HANDOVER", "3:4:", 1);
    assert_int_equal(inherited_take(&inherited, errors), -1);
    setenv("KAPROXY_HANDOVER", "3:4:", 1);
    assert_int_equal(inherited_take(&inherited, errors), -1);
    fclose(errors);
    assert_non_null(strstr(text, "must be replaced by it (exec)"));
    assert_non_null(strstr(text, "KAPROXY_HANDOVER is set, and LISTEN_PID is not"));
    assert_null(getenv("KAPROXY_HANDOVER"));
    (void)f;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_by_address),
        TEST(test_wildcard_is_equal_to_itself_alone),
        TEST(test_by_name),
        TEST(test_left_over),
        TEST(test_nothing_is_passed),
        TEST(test_no_sockets),
        TEST(test_other_descriptors),
        TEST(test_hostile_numbers),
        TEST(test_hostile_processes),
        TEST(test_handover),
        TEST(test_files_of_what_is_left),
        TEST(test_hostile_handovers),
        TEST(test_handover_to_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
