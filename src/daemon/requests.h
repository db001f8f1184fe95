/* SPDX-License-Identifier: ISC */
/* What an operator requests of a worker, carried out on the worker's thread: commands, and
 * snapshots of its state. */
#ifndef KAPROXY_REQUESTS_H
#define KAPROXY_REQUESTS_H

#include "admin/command.h"
#include "admin/snapshot.h"
#include "daemon/listener.h"
#include "pool/pool.h"

/* What a worker has; borrowed. */
struct requests {
    struct listeners *listeners;
    struct pool **pools;
    size_t pool_count;
    uint64_t generation; /* of the configuration that all this belongs to */
};

/* Carries it out and sets its answer; logs both as a notice. */
void requests_command(const struct requests *requests, struct command *command);

/* Fills in rows, as many as there is room for. Of sessions, of which there may be many, no more are
 * visited than there are rows for, the oldest of each listener first. */
void requests_snapshot(const struct requests *requests, struct snapshot *snapshot);

#endif
