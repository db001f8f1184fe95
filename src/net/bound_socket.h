/* SPDX-License-Identifier: ISC */
/* A listen socket, bound to an address. A unix socket includes its file: a stale one, which no
 * process listens on any more, is replaced; anything else at its path is left alone.
 *
 * Replacing a file requires a lock on its directory, flock(2), from the first check until the new
 * socket listens. So if several processes start at the same time, one of them gets the path, and
 * none takes a live socket away from another. The directory must be readable for that.
 *
 * The file gets its mode, user and group before listen(2), and until then every connect(2) is
 * refused: no client that they exclude can connect. This is not done with umask(2), which affects
 * the whole process and would not change the owner. */
#ifndef KAPROXY_BOUND_SOCKET_H
#define KAPROXY_BOUND_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"
#include "net/listen_address.h"

/* Attributes of a unix socket's file, which determine who may connect. */
struct socket_file {
    unsigned mode;
    uid_t uid; /* SOCKET_FILE_OURS: our own ids */
    gid_t gid;
};
#define SOCKET_FILE_OURS ((uid_t)-1)

/* Reference-counted: successive configurations share it. The descriptor and the file belong to the
 * thread that accepts from it; another thread, which loads a configuration, may query both, and set
 * the file's attributes. */
struct bound_socket;

/* Binds and listens; accepted sockets inherit the options. `file` has the attributes of a unix
 * socket's file. Waits, for a few seconds at most, while others keep the directory of a unix socket
 * locked. The caller owns one reference; NULL with *error, a text that is valid until the thread's
 * next call. */
struct bound_socket *bound_socket_open(const struct listen_address *address,
                                       const struct socket_file *file, const char **error);

/* Takes over a listen socket that another process has opened for us, and sets the options that
 * accepted sockets inherit. We do not remove a unix socket's file, until bound_socket_give_file
 * leaves it to us if is_ours. NULL with *error, and the caller still owns the descriptor. */
struct bound_socket *bound_socket_adopt(int fd, const struct listen_address *address, bool is_ours,
                                        const char **error);

/* Another process keeps the socket, and so its backlog, open when we close it: systemd. */
void bound_socket_set_kept(struct bound_socket *bound);
bool bound_socket_is_kept(const struct bound_socket *bound);

/* The last reference closes and frees it. Any thread. NULL is allowed. */
struct bound_socket *bound_socket_ref(struct bound_socket *bound);
void bound_socket_unref(struct bound_socket *bound);

int bound_socket_fd(const struct bound_socket *bound); /* -1: closed */
const struct listen_address *bound_socket_address(const struct bound_socket *bound);

/* Is it bound to a unix socket's path whose file we are to remove? */
bool bound_socket_has_file(const struct bound_socket *bound);

/* Sets the attributes of a unix socket's file from now on; a file that is not ours is left alone.
 * 0, or -1 with *error, as above, and nothing has changed. */
MUST_CHECK int bound_socket_set_file(const struct bound_socket *bound,
                                     const struct socket_file *file, const char **error);

/* With `away`, another process that shares the socket is to remove its file, and we are not.
 * Without, we are, if the file is ours or was left to us. */
void bound_socket_give_file(struct bound_socket *bound, bool away);

/* Whether the current user could open it, as far as can be determined without doing so: nothing is
 * created or removed, and it is not an error if a process already listens there. 0, or -1 with
 * *error, as above. */
MUST_CHECK int bound_socket_check(const struct listen_address *address, const char **error);

/* Closes it and removes a unix socket's file if that is ours, unless another process has put a
 * different one there. Never waits. May be called when it is closed. */
void bound_socket_close(struct bound_socket *bound);

#endif
