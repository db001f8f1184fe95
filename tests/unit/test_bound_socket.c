/* SPDX-License-Identifier: ISC */
/* Listening sockets: what is at a unix socket's path, who else uses it, who may connect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/bound_socket.h"
#include "net/listen_address.h"
#include "support/skip.h"
#include "support/sockets.h"

struct fixture {
    char folder[32];
    char path[48];
    struct listen_address address;
    struct socket_file file;
    struct bound_socket *bound;
    const char *error;
    /* Another process that opens the same path: what it reports, and what asks it to end. */
    pid_t rival;
    int reports, orders;
};

/* The linker substitutes these for the system's (--wrap), so that another process can act at the
 * moments that matter. */
static struct fixture *fixture;
static void (*before_unlink)(void);
static void (*before_listen)(void);
static void (*before_open_path)(void);
static void (*at_pause)(void);
static bool may_listen, may_open;
static unsigned pauses;
static int report_to; /* in the rival; -1: in the test */

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

static void run_once(void (**function)(void))
{
    void (*now)(void) = *function;
    *function = NULL;
    if (now != NULL)
        now();
}

int __wrap_unlink(const char *path)
{
    run_once(&before_unlink);
    return __real_unlink(path);
}

int __wrap_listen(int fd, int backlog)
{
    run_once(&before_listen);
    if (may_listen)
        return __real_listen(fd, backlog);
    errno = EADDRINUSE;
    return -1;
}

static void report(char what)
{
    if (write(report_to, &what, 1) != 1)
        _exit(1);
}

/* The rival reports once that it waits. */
int __wrap_flock(int fd, int operation)
{
    int result = __real_flock(fd, operation);
    if (result < 0 && errno == EWOULDBLOCK && report_to >= 0 && pauses == 0)
        report('w');
    return result;
}

int __wrap_open(const char *path, int flags, ...)
{
    if ((flags & O_PATH) != 0)
        run_once(&before_open_path);
    if (may_open)
        return __real_open(path, flags);
    errno = EACCES;
    return -1;
}

/* The test does not wait, but the pauses are counted. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    pauses++;
    if (report_to >= 0)
        return __real_nanosleep(time, left);
    run_once(&at_pause);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *error;
    char text[64];
    before_unlink = before_listen = before_open_path = at_pause = NULL;
    may_listen = may_open = true;
    pauses = 0;
    report_to = -1;
    snprintf(f->folder, sizeof(f->folder), "/tmp/kaproxy-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/k.sock", f->folder);
    snprintf(text, sizeof(text), "unix:%s", f->path);
    assert_int_equal(listen_address_parse(&f->address, text, strlen(text), &error), 0);
    f->file = (struct socket_file){.mode = 0660, .uid = SOCKET_FILE_OURS, .gid = SOCKET_FILE_OURS};
    f->reports = f->orders = -1;
    *state = fixture = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    bound_socket_unref(f->bound);
    listen_address_clear(&f->address);
    __real_unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

/* A socket's file at the path, whose descriptor is given. */
static int bind_file(const struct fixture *f, int type)
{
    int fd = socket(AF_UNIX, type, 0);
    assert_true(fd >= 0);
    assert_int_equal(
        bind(fd, (const struct sockaddr *)&f->address.sa, (socklen_t)f->address.length), 0);
    return fd;
}

static void leave_stale_file(const struct fixture *f)
{
    close(bind_file(f, SOCK_STREAM));
}

static int open_bound(struct fixture *f)
{
    f->error = "";
    bound_socket_unref(f->bound);
    f->bound = bound_socket_open(&f->address, &f->file, &f->error);
    return f->bound == NULL ? -1 : 0;
}

static void assert_refused(struct fixture *f, const char *error)
{
    int before = sockets_count();
    assert_int_equal(open_bound(f), -1);
    assert_string_equal(f->error, error);
    assert_null(f->bound);
    assert_int_equal(sockets_count(), before);
}

/* A client that connects to the path is this descriptor's. */
static bool is_reachable_at(const struct fixture *f, int fd)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), accepted = -1;
    assert_true(client >= 0);
    if (connect(client, (const struct sockaddr *)&f->address.sa, (socklen_t)f->address.length) == 0)
        accepted = accept(fd, NULL, NULL);
    close(client);
    if (accepted >= 0)
        close(accepted);
    return accepted >= 0;
}

static bool file_exists(const struct fixture *f)
{
    struct stat st;
    return lstat(f->path, &st) == 0;
}

/* The path alone */

static void test_new(void **state)
{
    struct fixture *f = *state;
    int before = sockets_count();
    assert_int_equal(open_bound(f), 0);
    assert_int_equal(sockets_count(), before + 1);
    assert_true(is_reachable_at(f, bound_socket_fd(f->bound)));
    bound_socket_close(f->bound);
    assert_int_equal(sockets_count(), before);
    assert_false(file_exists(f));
    bound_socket_close(f->bound);
}

static void test_stale_file_is_replaced(void **state)
{
    struct fixture *f = *state;
    leave_stale_file(f);
    assert_int_equal(open_bound(f), 0);
    assert_true(is_reachable_at(f, bound_socket_fd(f->bound)));
}

static void test_live_socket_is_left_alone(void **state)
{
    struct fixture *f = *state;
    int other = bind_file(f, SOCK_STREAM | SOCK_NONBLOCK);
    assert_int_equal(__real_listen(other, 1), 0);
    assert_refused(f, strerror(EADDRINUSE));
    int left; /* by the check */
    while ((left = accept(other, NULL, NULL)) >= 0)
        close(left);
    assert_true(is_reachable_at(f, other));
    close(other);
}

static void test_other_kinds_are_left_alone(void **state)
{
    struct fixture *f = *state;
    int other = bind_file(f, SOCK_DGRAM);
    assert_refused(f, strerror(EPROTOTYPE));
    assert_true(file_exists(f));
    close(other);
    __real_unlink(f->path);
    close(__real_open(f->path, O_CREAT | O_WRONLY, 0600));
    assert_refused(f, strerror(EEXIST));
    assert_true(file_exists(f));
}

static void test_no_directory(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rmdir(f->folder), 0);
    assert_refused(f, strerror(ENOENT));
    assert_int_equal(mkdir(f->folder, 0700), 0);
}

static void test_failure_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    may_listen = false;
    assert_refused(f, strerror(EADDRINUSE));
    assert_false(file_exists(f));
}

static void test_a_file_of_others_is_not_removed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_bound(f), 0);
    __real_unlink(f->path);
    leave_stale_file(f);
    bound_socket_close(f->bound);
    assert_true(file_exists(f));
}

/* Checking only */

static int check(struct fixture *f)
{
    f->error = "";
    return bound_socket_check(&f->address, &f->error);
}

static void assert_found(struct fixture *f, const char *error)
{
    int before = sockets_count();
    assert_int_equal(check(f), -1);
    assert_string_equal(f->error, error);
    assert_int_equal(sockets_count(), before);
}

/* A socket in use is left alone, and so is a stale socket's file. */
static void test_check_of_a_path(void **state)
{
    struct fixture *f = *state;
    int before = sockets_count();
    assert_int_equal(check(f), 0);
    assert_false(file_exists(f));
    int other = bind_file(f, SOCK_STREAM | SOCK_NONBLOCK);
    assert_int_equal(__real_listen(other, 1), 0);
    assert_int_equal(check(f), 0);
    assert_int_equal(accept(other, NULL, NULL), -1); /* no client has connected */
    close(other);
    assert_int_equal(check(f), 0);
    assert_true(file_exists(f));
    assert_int_equal(sockets_count(), before);
}

static void test_check_finds_what_is_in_the_way(void **state)
{
    struct fixture *f = *state;
    close(__real_open(f->path, O_CREAT | O_WRONLY, 0600));
    assert_found(f, strerror(EEXIST));
    __real_unlink(f->path);
    may_open = false;
    assert_found(f, "its directory cannot be locked because it cannot be read");
    may_open = true;
    assert_int_equal(rmdir(f->folder), 0);
    assert_found(f, strerror(ENOENT));
    assert_int_equal(mkdir(f->folder, 0700), 0);
}

static void set_address(struct fixture *f, const char *text)
{
    const char *error;
    listen_address_clear(&f->address);
    assert_int_equal(listen_address_parse(&f->address, text, strlen(text), &error), 0);
}

static void test_check_of_an_address(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    char text[64];
    int other = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(other, (const struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&in, &length), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
    set_address(f, text);
    assert_int_equal(__real_listen(other, 1), 0);
    assert_int_equal(check(f), 0); /* in use, and not ours to judge */
    close(other);
    assert_int_equal(check(f), 0);
    set_address(f, "192.0.2.1:80"); /* RFC 5737: assigned to no host */
    assert_found(f, strerror(EADDRNOTAVAIL));
}

/* The lock */

static int lock_folder(const struct fixture *f)
{
    int fd = __real_open(f->folder, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(__real_flock(fd, LOCK_EX), 0);
    return fd;
}

static void test_locked_for_good(void **state)
{
    struct fixture *f = *state;
    int other = lock_folder(f);
    leave_stale_file(f);
    assert_refused(f, "its directory is locked by another process");
    assert_true(file_exists(f));
    assert_in_range(pauses, 100, 1000);
    close(other);
}

static int held_lock;

static void give_lock_back(void)
{
    close(held_lock);
}

static void test_locked_for_a_moment(void **state)
{
    struct fixture *f = *state;
    held_lock = lock_folder(f);
    at_pause = give_lock_back;
    assert_int_equal(open_bound(f), 0);
    assert_int_equal(pauses, 1);
}

static void test_lock_is_not_waited_for_at_the_end(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_bound(f), 0);
    int other = lock_folder(f);
    bound_socket_close(f->bound);
    assert_int_equal(pauses, 0);
    assert_false(file_exists(f));
    close(other);
}

static void test_directory_that_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    may_open = false;
    assert_refused(f, "its directory cannot be locked because it cannot be read");
    may_open = true;
    assert_int_equal(open_bound(f), 0);
    may_open = false;
    bound_socket_close(f->bound);
    assert_false(file_exists(f));
}

/* Two at once */

/* In another process: opens the path, reports 'o' for opened, 'u' for in use or 'f' for another
 * failure, and keeps it until it is asked to end. */
static void rival_main(const struct fixture *f, int reports, int orders)
{
    const char *error;
    char what = 'o', order;
    report_to = reports;
    for (int fd = 3; fd < 1024; fd++) { /* it shares nothing, and no lock */
        if (fd != reports && fd != orders)
            close(fd);
    }
    if (bound_socket_open(&f->address, &f->file, &error) == NULL)
        what = strcmp(error, strerror(EADDRINUSE)) == 0 ? 'u' : 'f';
    report(what);
    _exit(read(orders, &order, 1) == 0 ? 0 : 1);
}

static char rival_report(const struct fixture *f)
{
    char what;
    assert_int_equal(read(f->reports, &what, 1), 1);
    return what;
}

/* Starts the rival, and continues when that waits for the lock or has the result. */
static void start_rival(void)
{
    int reports[2], orders[2];
    assert_int_equal(pipe(reports), 0);
    assert_int_equal(pipe(orders), 0);
    fixture->rival = fork();
    assert_true(fixture->rival >= 0);
    if (fixture->rival == 0) {
        close(orders[1]);
        rival_main(fixture, reports[1], orders[0]);
    }
    close(reports[1]);
    close(orders[0]);
    fixture->reports = reports[0];
    fixture->orders = orders[1];
    assert_int_equal(rival_report(fixture), 'w');
}

static void end_rival(struct fixture *f)
{
    int status;
    close(f->orders);
    assert_int_equal(waitpid(f->rival, &status, 0), f->rival);
    assert_int_equal(status, 0);
    close(f->reports);
}

static void assert_first_wins(struct fixture *f)
{
    assert_int_equal(open_bound(f), 0);
    assert_int_equal(rival_report(f), 'u');
    end_rival(f);
    int left; /* by the rival's check */
    while ((left = accept(bound_socket_fd(f->bound), NULL, NULL)) >= 0)
        close(left);
    assert_true(is_reachable_at(f, bound_socket_fd(f->bound)));
}

static void test_rival_before_the_stale_file_is_removed(void **state)
{
    leave_stale_file(*state);
    before_unlink = start_rival;
    assert_first_wins(*state);
}

static void test_rival_before_we_listen(void **state)
{
    before_listen = start_rival;
    assert_first_wins(*state);
}

static void remove_by_hand_and_start_rival(void)
{
    __real_unlink(fixture->path);
    start_rival();
}

static void test_rival_while_we_end(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_bound(f), 0);
    before_unlink = remove_by_hand_and_start_rival;
    bound_socket_close(f->bound);
    assert_int_equal(rival_report(f), 'o');
    assert_true(file_exists(f));
    end_rival(f);
}

static void assert_file(const struct fixture *f)
{
    struct stat st;
    assert_int_equal(lstat(f->path, &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | f->file.mode);
    assert_int_equal(st.st_uid, f->file.uid == SOCKET_FILE_OURS ? geteuid() : f->file.uid);
    assert_int_equal(st.st_gid, f->file.gid == SOCKET_FILE_OURS ? getegid() : f->file.gid);
}

/* The file has its final owner and mode, and no client can connect yet. */
static void look_before_listen(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_file(fixture);
    assert_int_equal(connect(fd, (const struct sockaddr *)&fixture->address.sa,
                             (socklen_t)fixture->address.length),
                     -1);
    if (geteuid() == 0 || (fixture->file.mode & 0200) != 0)
        assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    pauses = 1000; /* the check was done */
}

/* Whatever the umask is, and before a client can connect. */
static void test_mode(void **state)
{
    struct fixture *f = *state;
    static const mode_t masks[] = {0, 0022, 0777};
    static const unsigned modes[] = {0660, 0666, 0600, 0777, 0};
    mode_t own = umask(0);
    for (size_t i = 0; i < ARRAY_LEN(masks) * ARRAY_LEN(modes); i++) {
        umask(masks[i / ARRAY_LEN(modes)]);
        f->file.mode = modes[i % ARRAY_LEN(modes)];
        before_listen = look_before_listen;
        pauses = 0;
        assert_int_equal(open_bound(f), 0);
        assert_int_equal(pauses, 1000);
        assert_file(f);
        bound_socket_close(f->bound);
    }
    umask(own);
}

static void test_owner(void **state)
{
    struct fixture *f = *state;
    static const struct socket_file files[] = {
        {.mode = 0660, .uid = 12345, .gid = 54321},
        {.mode = 0600, .uid = 12345, .gid = SOCKET_FILE_OURS},
        {.mode = 0060, .uid = SOCKET_FILE_OURS, .gid = 54321},
    };
    if (geteuid() != 0)
        skip_because("only root can give a file away");
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        f->file = files[i];
        before_listen = look_before_listen;
        pauses = 0;
        assert_int_equal(open_bound(f), 0);
        assert_int_equal(pauses, 1000);
        bound_socket_close(f->bound);
    }
}

static void test_owner_must_not_be_set(void **state)
{
    struct fixture *f = *state;
    uid_t self = geteuid();
    assert_int_equal(chmod(f->folder, 0777), 0);
    if (self == 0)
        assert_int_equal(seteuid(12345), 0);
    f->file.uid = 0;
    assert_refused(f, "its owner cannot be set by this user");
    assert_int_equal(access(f->path, F_OK), -1);
    f->file.uid = geteuid(); /* which it is already */
    f->file.gid = 54321;
    assert_refused(f, "its group cannot be set by this user, who is not in that group");
    f->file.gid = SOCKET_FILE_OURS;
    assert_int_equal(open_bound(f), 0);
    bound_socket_close(f->bound);
    if (self == 0)
        assert_int_equal(seteuid(0), 0);
}

static char victim[64];

/* A user who can write to the directory puts a link there to a file that he must not change. */
static void put_link(void)
{
    assert_int_equal(__real_unlink(fixture->path), 0);
    assert_int_equal(symlink(victim, fixture->path), 0);
}

static void put_hard_link(void)
{
    assert_int_equal(__real_unlink(fixture->path), 0);
    assert_int_equal(link(victim, fixture->path), 0);
}

static void put_socket(void)
{
    assert_int_equal(__real_unlink(fixture->path), 0);
    leave_stale_file(fixture);
}

static void test_something_else_is_put_there(void **state)
{
    struct fixture *f = *state;
    static void (*const tricks[])(void) = {put_link, put_hard_link, put_socket};
    snprintf(victim, sizeof(victim), "%s/victim", f->folder);
    close(creat(victim, 0600));
    f->file.mode = 0666;
    for (size_t i = 0; i < ARRAY_LEN(tricks); i++) {
        struct stat st;
        before_open_path = tricks[i];
        assert_refused(f, "another process has put something else there");
        assert_int_equal(lstat(f->path, &st), 0); /* not ours to remove */
        assert_int_not_equal(st.st_mode & 0777, 0666);
        assert_int_equal(stat(victim, &st), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0600);
        assert_int_equal(__real_unlink(f->path), 0);
    }
    assert_int_equal(__real_unlink(victim), 0);
}

/* An internet address has no file, and no lock. */
static void test_internet_address(void **state)
{
    struct fixture *f = *state;
    const char text[] = "127.0.0.1:1", *error;
    struct listen_address address;
    struct sockaddr_in name;
    socklen_t length = sizeof(name);
    assert_int_equal(listen_address_parse(&address, text, strlen(text), &error), 0);
    ((struct sockaddr_in *)&address.sa)->sin_port = 0;
    may_open = false;
    f->bound = bound_socket_open(&address, &f->file, &error);
    assert_non_null(f->bound);
    assert_int_equal(getsockname(bound_socket_fd(f->bound), (struct sockaddr *)&name, &length), 0);
    ((struct sockaddr_in *)&address.sa)->sin_port = name.sin_port;
    assert_null(bound_socket_open(&address, &f->file, &error));
    assert_string_equal(error, strerror(EADDRINUSE));
    listen_address_clear(&address);
}

/* What passes from one configuration, and from one process, to the next */

static void assert_listens(const struct fixture *f, bool there)
{
    assert_int_equal(file_exists(f), there);
    if (there)
        assert_true(is_reachable_at(f, bound_socket_fd(f->bound)));
}

static void test_last_reference_closes(void **state)
{
    struct fixture *f = *state;
    int before = sockets_count();
    assert_int_equal(open_bound(f), 0);
    assert_ptr_equal(bound_socket_ref(f->bound), f->bound);
    bound_socket_unref(f->bound);
    assert_listens(f, true);
    bound_socket_unref(f->bound);
    f->bound = NULL;
    assert_listens(f, false);
    assert_int_equal(sockets_count(), before);
}

static void adopt(struct fixture *f, bool is_ours)
{
    int fd = bind_file(f, SOCK_STREAM);
    assert_int_equal(__real_listen(fd, 1), 0);
    f->bound = bound_socket_adopt(fd, &f->address, is_ours, &f->error);
    assert_non_null(f->bound);
    assert_int_equal(bound_socket_fd(f->bound), fd);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_false(bound_socket_has_file(f->bound)); /* still its opener's */
    bound_socket_give_file(f->bound, false);
    assert_int_equal(bound_socket_has_file(f->bound), is_ours);
    assert_listens(f, true);
}

static void test_adopted_file_of_ours_is_removed(void **state)
{
    struct fixture *f = *state;
    adopt(f, true);
    bound_socket_close(f->bound);
    assert_listens(f, false);
}

static void test_adopted_file_of_others_stays(void **state)
{
    struct fixture *f = *state;
    adopt(f, false);
    bound_socket_close(f->bound);
    assert_true(file_exists(f));
}

/* A successor that never serves. */
static void test_adopted_file_is_not_ours_before_it_is_left_to_us(void **state)
{
    struct fixture *f = *state;
    int fd = bind_file(f, SOCK_STREAM);
    assert_int_equal(__real_listen(fd, 1), 0);
    f->bound = bound_socket_adopt(fd, &f->address, true, &f->error);
    bound_socket_close(f->bound);
    assert_true(file_exists(f));
}

static void test_file_given_away_stays(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_bound(f), 0);
    bound_socket_give_file(f->bound, true);
    bound_socket_close(f->bound);
    assert_true(file_exists(f));
}

static void test_file_taken_back_is_removed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_bound(f), 0);
    bound_socket_give_file(f->bound, true);
    bound_socket_give_file(f->bound, false);
    bound_socket_close(f->bound);
    assert_false(file_exists(f));
}

static void test_file_of_others_does_not_become_ours(void **state)
{
    struct fixture *f = *state;
    adopt(f, false);
    bound_socket_give_file(f->bound, true);
    bound_socket_give_file(f->bound, false);
    assert_false(bound_socket_has_file(f->bound));
    bound_socket_close(f->bound);
    assert_true(file_exists(f));
}

/* Of any family, whatever the address is of: by its name systemd's may be for any. */
static void test_adopted_inet_sockets(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        bool is_ipv4 = families[i] == AF_INET;
        const struct sockaddr *sa = is_ipv4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
        socklen_t length = is_ipv4 ? sizeof(in) : sizeof(in6);
        int on = 0;
        int fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, sa, length), 0);
        assert_int_equal(__real_listen(fd, 1), 0);
        f->bound = bound_socket_adopt(fd, &f->address, false, &f->error);
        assert_non_null(f->bound);
        length = sizeof(on);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
        assert_true(on);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        bound_socket_unref(f->bound);
        f->bound = NULL;
    }
}

static mode_t mode_of(const struct fixture *f)
{
    struct stat st;
    assert_int_equal(lstat(f->path, &st), 0);
    return st.st_mode & 07777;
}

static void test_mode_changes_while_it_listens(void **state)
{
    struct fixture *f = *state;
    const struct socket_file file = {
        .mode = 0600, .uid = SOCKET_FILE_OURS, .gid = SOCKET_FILE_OURS};
    assert_int_equal(open_bound(f), 0);
    assert_int_equal(mode_of(f), 0660);
    assert_int_equal(bound_socket_set_file(f->bound, &file, &f->error), 0);
    assert_int_equal(mode_of(f), 0600);
    bound_socket_give_file(f->bound, true); /* no longer ours to change */
    assert_int_equal(bound_socket_set_file(f->bound, &f->file, &f->error), 0);
    assert_int_equal(mode_of(f), 0600);
    __real_unlink(f->path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new),
        TEST(test_stale_file_is_replaced),
        TEST(test_live_socket_is_left_alone),
        TEST(test_other_kinds_are_left_alone),
        TEST(test_no_directory),
        TEST(test_failure_leaves_no_file),
        TEST(test_a_file_of_others_is_not_removed),
        TEST(test_check_of_a_path),
        TEST(test_check_finds_what_is_in_the_way),
        TEST(test_check_of_an_address),
        TEST(test_locked_for_good),
        TEST(test_locked_for_a_moment),
        TEST(test_lock_is_not_waited_for_at_the_end),
        TEST(test_directory_that_cannot_be_read),
        TEST(test_rival_before_the_stale_file_is_removed),
        TEST(test_rival_before_we_listen),
        TEST(test_rival_while_we_end),
        TEST(test_mode),
        TEST(test_owner),
        TEST(test_owner_must_not_be_set),
        TEST(test_something_else_is_put_there),
        TEST(test_internet_address),
        TEST(test_last_reference_closes),
        TEST(test_adopted_file_of_ours_is_removed),
        TEST(test_adopted_file_of_others_stays),
        TEST(test_adopted_file_is_not_ours_before_it_is_left_to_us),
        TEST(test_file_of_others_does_not_become_ours),
        TEST(test_adopted_inet_sockets),
        TEST(test_file_given_away_stays),
        TEST(test_file_taken_back_is_removed),
        TEST(test_mode_changes_while_it_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
