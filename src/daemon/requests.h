/* SPDX-License-Identifier: ISC */
/* What an operator asks of a worker, done on the worker's thread: commands, and a view of what is
 * there. */
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
    uint64_t generation; /* of the configuration that all this is of */
};

/* Does it and sets its answer; logs both as a notice. */
void requests_command(const struct requests *requests, struct command *command);

/* Fills in rows, as many as there is room for. Of sessions, of which there may be very many, no
 * more are visited than there are rows for, the oldest of each listener. */
void requests_snapshot(const struct requests *requests, struct snapshot *snapshot);

#endif
