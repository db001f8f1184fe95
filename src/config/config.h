/* SPDX-License-Identifier: ISC */
/* kaproxy.ini, read once into one immutable, validated struct. Nothing that changes while kaproxy
 * runs is in it; a reload makes another one. */
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

/* Several, on which no two exclude each other. */
struct config_addresses {
    struct config_address *list;
    size_t count;
};

/* When a client that has left ends its request; half-closed ones have not left. */
enum config_abort { ABORT_QUEUED, ABORT_ALWAYS, ABORT_NEVER };

/* In what follows strings are never NULL, and the struct owns them. */

struct config_pool {
    char *name; /* "" for the default pool */
    int line;
    struct pool_limits limits;
};

/* Who may connect to unix sockets. */
struct config_socket {
    struct socket_file file; /* uid and gid follow from what is below and [kaproxy]'s user */
    char *user, *group;      /* "": not set */
};

/* Who may change something through the admin pages. */
enum config_control { CONTROL_UNIX, CONTROL_ALL, CONTROL_NONE };

/* The most connections that the admin pages have at one time. */
#define CONFIG_ADMIN_CONNECTIONS 64

struct config_admin {
    struct config_addresses addresses; /* none: there are no admin pages */
    bool off;                          /* by listen = off, and not by default */
    struct config_socket socket;
    enum config_control control;
};

/* Where the keys of files are set; 0: nowhere. */
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
    usec_t timeout;           /* of its allocations; the pool's when it has none of its own */
    enum reuse reuse;         /* never REUSE_UNSET after config_load */
    usec_t idle_timeout;      /* 0: none */
    usec_t response_timeout;  /* framed protocols: for a response to begin; 0: none */
    usec_t header_timeout;    /* http: for a request's header; 0: none */
    usec_t client_keep_alive; /* http: a client is between two requests; 0: none */
    usec_t affinity_timeout;  /* the same with a connection of its own; 0: none */
    bool request_buffering;   /* http: of what is read of a body before a connection is asked for */
    enum config_abort abort_on_close;
    enum http1_forwarded forwarded;
    char *host;               /* "upstream", "client" or a literal */
    char *stateless_commands; /* redis: names, or beginnings with *, of modules' commands */
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
    char *user;     /* "": stay who we are */
    char *resolver; /* as in resolver_ares_options.servers; "": the system's */
    struct config_admin admin;
    struct config_pool *pools; /* pools[0] is the default pool */
    size_t pool_count;
    struct config_listener *listeners;
    size_t listener_count;
};

/* Reads and validates a file, and the certificates that it names. Every mistake is written to
 * `errors` as one line FILE:LINE: text, in the order of the lines and all of them in one go; FILE:
 * text when the file cannot be read. NULL when there was one. Warnings are among them, marked. Any
 * thread, as long as nobody changes the environment. NULL as the file: that of config_place.h. */
struct config *config_load(const char *file, FILE *errors);

/* The same when it is read another time, for a reload: what is no regular file is a mistake, as
 * that can be read just once, or may be waited for without end. */
struct config *config_load_again(const char *file, FILE *errors);

/* It is freed with the last reference. Any thread. */
struct config *config_ref(struct config *config);
void config_unref(struct config *config); /* NULL is harmless */

/* Are clients served in the same way, wherever they connect to? Its pool's limits apart. */
bool config_listener_is_like(const struct config_listener *a, const struct config_listener *b);

/* Writes the effective values in the form of an INI file that config_load reads back alike. */
void config_print(const struct config *config, FILE *out);

#endif
