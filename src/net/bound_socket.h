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

/* All zero but for fd: closed. */
struct bound_socket {
    int fd; /* -1: closed */
    const struct listen_address *address;
    dev_t dev; /* of a unix socket's file */
    ino_t ino;
};

/* Binds and listens; accepted sockets inherit the options. The address is borrowed; `file` says
 * what a unix socket's file is to be. Waits, at most some seconds, while others keep the directory
 * of a unix socket locked. 0, or -1 with *error, a text that lasts until the next call. */
MUST_CHECK int bound_socket_open(struct bound_socket *bound, const struct listen_address *address,
                                 const struct socket_file *file, const char **error);

/* Whether it could be opened by the present user, as far as that can be seen without doing it:
 * nothing is created or removed, and it is no mistake when somebody listens there already. 0, or -1
 * with *error, as above. */
MUST_CHECK int bound_socket_check(const struct listen_address *address, const char **error);

/* Closes it and removes a unix socket's file, unless somebody has put another one there. Waits for
 * nobody. Harmless when it is closed. */
void bound_socket_close(struct bound_socket *bound);

#endif
