/* SPDX-License-Identifier: ISC */
/* Binds and listens, and replaces a stale socket file under a lock on its directory. */
#include "net/bound_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/loopback.h"

/* Opening a socket keeps the directory locked for a moment only. But any process that can read the
 * directory can lock it for as long as it likes: the start then fails instead of hanging. */
#define LOCK_TRIES 500
#define LOCK_PAUSE (10 * USEC_PER_MSEC)

struct bound_socket {
    atomic_uint references;
    atomic_int fd; /* -1: closed */
    struct listen_address address;
    atomic_bool is_ours; /* whether we remove a unix socket's file */
    bool may_be_ours;    /* or will, once it is left to us */
    bool is_kept;        /* open elsewhere */
    dev_t dev;           /* of that file */
    ino_t ino;
};

static const struct sockaddr *address_of(const struct bound_socket *bound)
{
    return (const struct sockaddr *)&bound->address.sa;
}

static bool is_unix(const struct bound_socket *bound)
{
    return bound->address.sa.ss_family == AF_UNIX;
}

static const char *path_of(const struct bound_socket *bound)
{
    return ((const struct sockaddr_un *)&bound->address.sa)->sun_path;
}

/* Keeps errno. */
static void close_quietly(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
}

/* Opens the directory of an absolute path for reading, as locking requires. A descriptor, or -1
 * with errno. */
static int open_directory(const char *path)
{
    char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    size_t length = (size_t)(strrchr(path, '/') - path) + 1;
    memcpy(directory, path, length);
    directory[length] = '\0';
    return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* 0, or -1 with errno: EWOULDBLOCK if others keep it locked, EINTR if a signal arrives. */
static int lock(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE * 1000};
    for (int tries = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
            return -1;
        if (nanosleep(&pause, NULL) < 0)
            return -1;
    }
    return 0;
}

/* Describes why open_directory failed. */
static const char *directory_error(int error)
{
    return error == EACCES ? "its directory cannot be locked because it cannot be read"
                           : strerror(error);
}

/* Locks the directory of a path until the descriptor is closed; -1 with *error. */
static int lock_directory(const char *path, const char **error)
{
    int fd = open_directory(path);
    if (fd < 0) {
        *error = directory_error(errno);
        return -1;
    }
    if (lock(fd) == 0)
        return fd;
    *error = errno == EWOULDBLOCK ? "its directory is locked by another process" : strerror(errno);
    close(fd);
    return -1;
}

/* Does any process listen on a socket's file? 0: no; -1 with errno, EADDRINUSE: yes. */
static int knock(const struct bound_socket *bound)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int result = connect(fd, address_of(bound), bound->address.length);
    close_quietly(fd);
    if (result < 0 && (errno == ECONNREFUSED || errno == ENOENT))
        return 0;
    if (result == 0 || errno == EAGAIN)
        errno = EADDRINUSE;
    return -1;
}

/* Removes a socket file that no process listens on any more; anything else is not ours to touch. 0,
 * or -1 with errno. */
static int remove_stale_file(const struct bound_socket *bound)
{
    struct stat st;
    if (lstat(path_of(bound), &st) < 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    if (knock(bound) < 0)
        return -1;
    return unlink(path_of(bound)) == 0 || errno == ENOENT ? 0 : -1;
}

/* Options that accepted sockets inherit, so that they cost no system call per client. */
static int set_inherited_options(int fd, int family)
{
    int on = 1;
    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) < 0)
        return -1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* The same, and those that must be set before binding. */
static int set_options(int fd, int family)
{
    int on = 1;
    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        set_inherited_options(fd, family) < 0)
        return -1;
    if (family == AF_INET6)
        return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    return 0;
}

static void note_file(struct bound_socket *bound)
{
    struct stat st;
    if (is_unix(bound) && lstat(path_of(bound), &st) == 0) {
        bound->dev = st.st_dev;
        bound->ino = st.st_ino;
    }
}

/* Removes a unix socket's file, unless another process has put a different one there. */
static void remove_file(const struct bound_socket *bound)
{
    struct stat st;
    if (is_unix(bound) && lstat(path_of(bound), &st) == 0 && st.st_dev == bound->dev &&
        st.st_ino == bound->ino)
        unlink(path_of(bound));
}

static bool is_our_file(const struct bound_socket *bound, const struct stat *st)
{
    return S_ISSOCK(st->st_mode) && st->st_nlink == 1 && st->st_dev == bound->dev &&
           st->st_ino == bound->ino;
}

/* 0, or -1 with errno. */
static int set_mode(int file, const struct stat *st, mode_t mode)
{
    char path[32];
    if ((st->st_mode & 07777) == mode)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file); /* fchmod(2) does not accept O_PATH */
    return chmod(path, mode);
}

/* Restores the mode, so that clients it excluded are excluded again. */
static void put_mode_back(int file, struct stat *st, mode_t mode)
{
    mode_t before = st->st_mode & 07777;
    st->st_mode = mode;
    (void)!set_mode(file, st, before);
}

/* 0, or -1 with errno. */
static int set_owner(int file, const struct stat *st, const struct socket_file *wanted)
{
    bool is_user = wanted->uid == SOCKET_FILE_OURS || wanted->uid == st->st_uid;
    bool is_group = wanted->gid == SOCKET_FILE_OURS || wanted->gid == st->st_gid;
    if (is_user && is_group)
        return 0;
    return fchownat(file, "", wanted->uid, wanted->gid, AT_EMPTY_PATH);
}

static const char *owner_error(const struct stat *st, const struct socket_file *wanted)
{
    if (errno != EPERM)
        return strerror(errno);
    if (wanted->uid == SOCKET_FILE_OURS || wanted->uid == st->st_uid)
        return "its group cannot be set by this user, who is not in that group";
    return "its owner cannot be set by this user";
}

/* Sets who may connect. Uses a descriptor, as anyone who can write to the directory could put
 * something else at the path. The mode is set first, while the file is still ours. 0, or -1 with
 * *error. */
static int set_access(const struct bound_socket *bound, const struct socket_file *wanted,
                      const char **error)
{
    struct stat st;
    int result = -1;
    int file = open(path_of(bound), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    *error = NULL;
    if (file < 0 || fstat(file, &st) < 0)
        *error = strerror(errno);
    else if (!is_our_file(bound, &st))
        *error = "another process has put something else there";
    else if (set_mode(file, &st, wanted->mode) < 0)
        *error = errno == ENOENT ? "its mode cannot be set without /proc" : strerror(errno);
    else if (set_owner(file, &st, wanted) < 0) {
        *error = owner_error(&st, wanted);
        put_mode_back(file, &st, wanted->mode);
    } else
        result = 0;
    if (file >= 0)
        close(file);
    return result;
}

/* 0, or -1 with *error. */
static int bind_and_listen(struct bound_socket *bound, const struct socket_file *file,
                           const char **error)
{
    const struct sockaddr *sa = address_of(bound);
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto err;
    if (!is_unix(bound))
        loopback_unpace(fd, sa);
    if (set_options(fd, sa->sa_family) < 0 || bind(fd, sa, bound->address.length) < 0)
        goto err;
    note_file(bound);
    if (is_unix(bound) && set_access(bound, file, error) < 0)
        goto err_file;
    if (listen(fd, INT_MAX) < 0) { /* the kernel lowers the backlog to net.core.somaxconn */
        *error = strerror(errno);
        goto err_file;
    }
    bound->fd = fd;
    return 0;

err:
    *error = strerror(errno);
    if (fd >= 0)
        close(fd);
    return -1;
err_file:
    remove_file(bound);
    close(fd);
    return -1;
}

/* NULL with ENOMEM. */
static struct bound_socket *bound_socket_new(const struct listen_address *address)
{
    struct bound_socket *bound = calloc(1, sizeof(*bound));
    if (bound == NULL)
        return NULL;
    bound->fd = -1;
    atomic_init(&bound->references, 1);
    if (listen_address_copy(&bound->address, address) == 0)
        return bound;
    free(bound);
    return NULL;
}

/* 0, or -1 with *error. */
static int open_new(struct bound_socket *bound, const struct socket_file *file, const char **error)
{
    int directory = -1;
    bound->is_ours = bound->may_be_ours = is_unix(bound);
    if (is_unix(bound) && (directory = lock_directory(path_of(bound), error)) < 0)
        return -1;
    int result = is_unix(bound) ? remove_stale_file(bound) : 0;
    if (result < 0)
        *error = strerror(errno);
    else
        result = bind_and_listen(bound, file, error);
    if (directory >= 0)
        close(directory);
    return result;
}

struct bound_socket *bound_socket_open(const struct listen_address *address,
                                       const struct socket_file *file, const char **error)
{
    struct bound_socket *bound = bound_socket_new(address);
    if (bound == NULL) {
        *error = strerror(errno);
        return NULL;
    }
    if (open_new(bound, file, error) == 0)
        return bound;
    bound_socket_unref(bound);
    return NULL;
}

/* 0, or -1 with errno. */
static int make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* It may differ from the address's family: sockets from systemd are also matched by name. -1 with
 * errno. */
static int family_of(int fd)
{
    int family = -1;
    socklen_t length = sizeof(family);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0 ? -1 : family;
}

struct bound_socket *bound_socket_adopt(int fd, const struct listen_address *address, bool is_ours,
                                        const char **error)
{
    struct bound_socket *bound = bound_socket_new(address);
    if (bound == NULL || make_nonblocking(fd) < 0 || set_inherited_options(fd, family_of(fd)) < 0) {
        *error = strerror(errno);
        bound_socket_unref(bound);
        return NULL;
    }
    bound->fd = fd;
    bound->may_be_ours = is_ours && is_unix(bound);
    note_file(bound);
    return bound;
}

void bound_socket_set_kept(struct bound_socket *bound)
{
    bound->is_kept = true;
}

bool bound_socket_is_kept(const struct bound_socket *bound)
{
    return bound->is_kept;
}

struct bound_socket *bound_socket_ref(struct bound_socket *bound)
{
    atomic_fetch_add_explicit(&bound->references, 1, memory_order_relaxed);
    return bound;
}

void bound_socket_unref(struct bound_socket *bound)
{
    if (bound == NULL || atomic_fetch_sub_explicit(&bound->references, 1, memory_order_acq_rel) > 1)
        return;
    bound_socket_close(bound);
    listen_address_clear(&bound->address);
    free(bound);
}

int bound_socket_fd(const struct bound_socket *bound)
{
    return bound->fd;
}

const struct listen_address *bound_socket_address(const struct bound_socket *bound)
{
    return &bound->address;
}

bool bound_socket_has_file(const struct bound_socket *bound)
{
    return bound->is_ours && bound->fd >= 0;
}

int bound_socket_set_file(const struct bound_socket *bound, const struct socket_file *file,
                          const char **error)
{
    return bound_socket_has_file(bound) ? set_access(bound, file, error) : 0;
}

void bound_socket_give_file(struct bound_socket *bound, bool away)
{
    bound->is_ours = bound->may_be_ours && !away;
}

/* Binding reports everything that prevents it before it reports that the address is in use. It
 * disturbs no one: with SO_REUSEADDR two sockets may be bound to an address as long as neither
 * listens. */
static int check_inet(const struct bound_socket *bound, const char **error)
{
    const struct sockaddr *sa = address_of(bound);
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && set_options(fd, sa->sa_family) == 0 &&
                (bind(fd, sa, bound->address.length) == 0 || errno == EADDRINUSE);
    if (!good)
        *error = strerror(errno);
    if (fd >= 0)
        close(fd);
    return good ? 0 : -1;
}

/* The directory must be readable, for its lock, and writable; only a socket may exist at the
 * path. */
static int check_path(const struct bound_socket *bound, const char **error)
{
    struct stat st;
    int directory = open_directory(path_of(bound));
    *error = NULL;
    if (directory < 0) {
        *error = directory_error(errno);
        return -1;
    }
    if (lstat(path_of(bound), &st) == 0 && !S_ISSOCK(st.st_mode))
        *error = strerror(EEXIST);
    else if (faccessat(directory, ".", W_OK | X_OK, AT_EACCESS) < 0)
        *error = strerror(errno);
    close(directory);
    return *error == NULL ? 0 : -1;
}

int bound_socket_check(const struct listen_address *address, const char **error)
{
    const struct bound_socket bound = {.fd = -1, .address = *address};
    return is_unix(&bound) ? check_path(&bound, error) : check_inet(&bound, error);
}

/* The file is removed before the socket is closed, so that it is never taken for a stale one. The
 * lock also excludes a process that is replacing a file which was removed by hand; sessions are
 * being served by now, so it is not waited for. */
static void remove_file_locked(const struct bound_socket *bound)
{
    int directory = open_directory(path_of(bound));
    if (directory >= 0)
        flock(directory, LOCK_EX | LOCK_NB);
    remove_file(bound);
    if (directory >= 0)
        close(directory);
}

void bound_socket_close(struct bound_socket *bound)
{
    if (bound->fd < 0)
        return;
    if (bound_socket_has_file(bound))
        remove_file_locked(bound);
    close(bound->fd);
    bound->fd = -1;
}
