/* SPDX-License-Identifier: ISC */
/* kaproxy.ini, read once into one immutable, validated struct. It holds nothing that changes while
 * kaproxy runs; a reload creates another one. */
#ifndef KAPROXY_CONFIG_H
#define KAPROXY_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/log.h"
#include "base/util.h"
#include "http1/http1_forwarded.h"
#include "net/bound_socket.h"
#include "net/endpoint.h"
#include "net/listen_address.h"
#include "pool/pool.h"

struct config_address {
    struct listen_address address;
    int line;
};

/* Several addresses, no two of which exclude each other. */
struct config_addresses {
    struct config_address *list;
    size_t count;
};

/* When a client that has left ends its request; a half-closed one has not left. */
enum config_abort { ABORT_QUEUED, ABORT_ALWAYS, ABORT_NEVER };

/* Below, strings are never NULL, and the struct owns them. */

struct config_pool {
    char *name; /* "" for the default pool */
    int line;
    struct pool_limits limits;
};

/* Who may connect to unix sockets. */
struct config_socket {
    struct socket_file file; /* uid and gid: derived from those below and [kaproxy]'s user */
    char *user, *group;      /* "": not set */
};

/* Who may change something through the admin pages. */
enum config_control { CONTROL_UNIX, CONTROL_ALL, CONTROL_NONE };

/* The maximum number of connections to the admin pages at a time. */
#define CONFIG_ADMIN_CONNECTIONS 64

struct config_admin {
    struct config_addresses addresses; /* none: there are no admin pages */
    bool off;                          /* by listen = off, not by default */
    struct config_socket socket;
    enum config_control control;
};

/* The lines of the keys that name files; 0: none. */
struct config_tls_lines {
    int ca_file, cert_file, key_file;
};

struct config_listener {
    char *name;
    int line;
    struct config_addresses addresses;
    struct config_socket socket;
    struct endpoint upstream; /* with the digest of its TLS settings */
    size_t pool;              /* index into config.pools */
    char *pool_name;          /* "" for the default pool */
    usec_t timeout;           /* of its allocations; the pool's if it has none of its own */
    enum reuse reuse;         /* never REUSE_UNSET after config_load */
    usec_t idle_timeout;      /* 0: no limit */
    usec_t response_timeout;  /* framed protocols: for a response to begin; 0: no limit */
    usec_t header_timeout;    /* http: for a request's header; 0: no limit */
    usec_t client_keep_alive; /* http: a client between two requests; 0: no limit */
    usec_t affinity_timeout;  /* the same with a connection of its own; 0: no limit */
    bool request_buffering;   /* http: of what is read of a body before a connection is allocated */
    enum config_abort abort_on_close;
    enum http1_forwarded forwarded;
    char *host;               /* "upstream", "client" or a literal */
    char *stateless_commands; /* redis: names, or prefixes followed by *, of modules' commands */
    char *tls_ca_file, *tls_server_name, *tls_cert_file, *tls_key_file; /* "": not set */
    struct config_tls_lines tls_lines;
    bool tls_verify;
    char *tls_min_version; /* "1.2" or "1.3" */
    bool tls_close_notify; /* required */
};

struct config {
    atomic_uint references;
    char *file;
    bool is_default; /* no file was named: config_place.h found it */
    char *log;
    enum log_level log_level;
    char *access_log;
    enum log_format log_format;                   /* the access log's */
    char *pid_file;                               /* "": none */
    int log_line, access_log_line, pid_file_line; /* where they are set; 0: nowhere */
    unsigned max_clients;
    usec_t shutdown_timeout;
    char *user;     /* "": do not switch */
    char *resolver; /* as resolver_ares_options.servers; "": the system's */
    struct config_admin admin;
    struct config_pool *pools; /* pools[0] is the default pool */
    size_t pool_count;
    struct config_listener *listeners;
    size_t listener_count;
};

/* Reads and validates a file, NULL: the one of config_place.h, and the certificates that it names.
 * All mistakes are written to `errors` together, in the order of the lines, each as one line
 * FILE:LINE: text; or as FILE: text if the file cannot be read. NULL if there was any. Warnings are
 * included, and marked. Any thread, as long as the environment is not changed. */
struct config *config_load(const char *file, FILE *errors);

/* The same for reading it again, for a reload: anything but a regular file is a mistake, as it
 * might be readable only once, or block forever. */
struct config *config_load_again(const char *file, FILE *errors);

/* Freed with the last reference. Any thread. */
struct config *config_ref(struct config *config);
void config_unref(struct config *config); /* NULL is allowed */

/* Are clients served in the same way, wherever they connect? Ignores its pool's limits. */
bool config_listener_is_like(const struct config_listener *a, const struct config_listener *b);

/* Writes the effective values as an INI file; config_load reads the same values back. */
void config_print(const struct config *config, FILE *out);

#endif
