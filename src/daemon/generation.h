/* SPDX-License-Identifier: ISC */
/* A configuration with what is made for it before anybody uses it: listening sockets, TLS clients,
 * its share of the descriptors. A start makes one, and each reload another: what both have in
 * common, by value, is the same object in both, counted by reference. So whoever uses a part of it
 * has a reference of its own, and a generation may be freed as soon as another one is in effect. */
#ifndef KAPROXY_GENERATION_H
#define KAPROXY_GENERATION_H

#include <stdint.h>

#include "base/util.h"
#include "config/config.h"
#include "config/config_errors.h"
#include "daemon/inherited.h"
#include "daemon/tls_clients.h"
#include "net/bound_socket.h"

struct generation {
    struct config *config;
    uint64_t number; /* 1: the start's */
    struct tls_clients tls_clients;
    /* For each address of the configuration: the listeners', in order, then [admin]'s. */
    struct bound_socket **sockets;
    size_t socket_count;
    size_t admin_at;                 /* the index of [admin]'s first */
    bool *unchanged;                 /* for each listener: is it as it was, wherever it listens? */
    unsigned max_clients, max_pipes; /* what the limit of descriptors leaves */
};

/* Takes what it can from `current` (NULL: a start), opens what is new, and changes who may connect
 * to unix sockets that stay, where that is configured in another way. `inherited`: sockets that
 * were passed to us (NULL: none). All or nothing: NULL with findings, at least one of them a
 * mistake, when anything cannot be had; a mistake also where an address overlaps one of `current`
 * that is not in this configuration any more, for it can be bound only when that one is closed, and
 * where one goes from a listener to [admin], or back: for a moment it would be both's.
 * Takes the reference of the configuration, also then. Any thread, one at a time. */
struct generation *generation_make(struct config *config, const struct generation *current,
                                   struct inherited *inherited, struct config_errors *findings);

/* The same from a file, for a reload, with *logs prepared as the configuration has them, to be
 * committed or freed. Whatever config_load_again says of it, and what is found here, is written to
 * `errors`, each line as FILE:LINE: text: what a check (-t) of that file says, too. */
struct generation *generation_load(const char *file, const struct generation *current,
                                   struct log_change **logs, FILE *errors);

/* Lets go of all. What nobody else has is closed. NULL is harmless. */
void generation_free(struct generation *generation);

/* The same for one that never was in effect: who may connect to unix sockets that stay is again as
 * `current` says. */
void generation_undo(struct generation *generation, const struct generation *current);

#endif
