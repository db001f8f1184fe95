/* SPDX-License-Identifier: ISC */
/* A configuration with the resources that are prepared for it: listen sockets, TLS clients, its
 * share of the descriptors. The start makes one, and each reload another. What is equal in both, by
 * value, is the same object, counted by reference. Users of such an object hold references of their
 * own, so a generation can be freed as soon as another one is in effect. */
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
    uint64_t number; /* 1: that of the start */
    struct tls_clients tls_clients;
    /* One for each address of the configuration: the listeners', in order, then those of
     * [admin]. */
    struct bound_socket **sockets;
    size_t socket_count;
    size_t admin_at;                 /* the index of the first of [admin] */
    bool *unchanged;                 /* for each listener: unchanged, apart from its addresses? */
    unsigned max_clients, max_pipes; /* what the limit of descriptors leaves room for */
};

/* Reuses what it can from `current` (NULL: a start), opens what is new, and sets owner, group and
 * mode of unix sockets that stay, where these have changed. `inherited`: sockets that were passed
 * to us (NULL: none). All or nothing: if anything is not available the result is NULL, with
 * findings, at least one of them a mistake. It is also a mistake if an address overlaps one of
 * `current` that is no longer configured, which could only be bound after that is closed, and if an
 * address moves from a listener to [admin] or back, since both would own it for a moment. Takes the
 * reference to the configuration, on failure too. Any thread, one at a time. */
struct generation *generation_make(struct config *config, const struct generation *current,
                                   struct inherited *inherited, struct config_errors *findings);

/* The same from a file, for a reload; *logs is prepared as configured, to be committed or freed.
 * All that config_load_again reports, and what is found here, is written to `errors`, each line as
 * FILE:LINE: text, as a check (-t) of that file writes it. */
struct generation *generation_load(const char *file, const struct generation *current,
                                   struct log_change **logs, FILE *errors);

/* Releases everything; what nothing else uses is closed. NULL is harmless. */
void generation_free(struct generation *generation);

/* The same for one that never took effect: owner, group and mode of unix sockets that stay are
 * restored to those of `current`. */
void generation_undo(struct generation *generation, const struct generation *current);

#endif
