/* SPDX-License-Identifier: ISC */
/* A listening socket, bound to an address. Of a unix socket the file is part of it: one that nobody
 * listens on any more is replaced, anything else at its path is left alone.
 *
 * Whoever replaces a file holds a lock on its directory, flock(2), from the first look until it
 * listens: of processes that start at the same time one gets the path, and none takes a live socket
 * away from another. The directory must be readable for that.
 *
 * The file has its mode, user and group before listen(2), and until then every connect(2) is
 * refused: nobody gets through whom they keep out. Not by way of umask(2), which is the whole
 * process's, and would not change the owner. */
#ifndef KAPROXY_BOUND_SOCKET_H
#define KAPROXY_BOUND_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"
#include "net/listen_address.h"

/* What a unix socket's file is to be: that says who may connect. */
struct socket_file {
    unsigned mode;
    uid_t uid; /* SOCKET_FILE_OURS: who we are */
    gid_t gid;
};
#define SOCKET_FILE_OURS ((uid_t)-1)

/* Counted by reference: configurations that follow each other share it. The descriptor and the file
 * belong to the thread that accepts from it; another one, which loads a configuration, may ask
 * about both, and set what the file is to be. */
struct bound_socket;

/* Binds and listens; accepted sockets inherit the options. `file` says what a unix socket's file is
 * to be. Waits, at most some seconds, while others keep the directory of a unix socket locked. One
 * reference is the caller's; NULL with *error, a text that lasts until the thread's next call. */
struct bound_socket *bound_socket_open(const struct listen_address *address,
                                       const struct socket_file *file, const char **error);

/* Takes over a socket that listens already, which another process has opened for us, and sets those
 * options that accepted sockets inherit. A unix socket's file is not ours to remove, but becomes so
 * by bound_socket_give_file if is_ours. NULL with *error, and the descriptor is the caller's still.
 */
struct bound_socket *bound_socket_adopt(int fd, const struct listen_address *address, bool is_ours,
                                        const char **error);

/* With the last reference it is closed, and freed. Any thread. NULL is harmless. */
struct bound_socket *bound_socket_ref(struct bound_socket *bound);
void bound_socket_unref(struct bound_socket *bound);

int bound_socket_fd(const struct bound_socket *bound); /* -1: it is closed */
const struct listen_address *bound_socket_address(const struct bound_socket *bound);

/* Is it bound to a unix socket's path whose file is ours to remove? */
bool bound_socket_has_file(const struct bound_socket *bound);

/* What a unix socket's file is to be from now on; one that is not ours is left alone. 0, or -1 with
 * *error, as above, and nothing has changed. */
MUST_CHECK int bound_socket_set_file(const struct bound_socket *bound,
                                     const struct socket_file *file, const char **error);

/* Another process, which has the socket too, is to remove its file, and we are not; or we are, as
 * far as it is of one who leaves it to us. */
void bound_socket_give_file(struct bound_socket *bound, bool away);

/* Whether it could be opened by the present user, as far as that can be seen without doing it:
 * nothing is created or removed, and it is no mistake when somebody listens there already. 0, or -1
 * with *error, as above. */
MUST_CHECK int bound_socket_check(const struct listen_address *address, const char **error);

/* Closes it and removes a unix socket's file, if that is ours, unless somebody has put another one
 * there. Waits for nobody. Harmless when it is closed. */
void bound_socket_close(struct bound_socket *bound);

#endif
