/* SPDX-License-Identifier: ISC */
/* What the admin pages see of one generation of the configuration: each reload makes a new one
 * (admin_set_view). */
#ifndef KAPROXY_ADMIN_VIEW_H
#define KAPROXY_ADMIN_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "config/config.h"

/* All of it is borrowed while the view is in use. */
struct admin_view {
    const struct config *config;
    /* The worker's: the process', then listeners, then hosts, each in the order of the
     * configuration. */
    const struct metric_block *blocks;
    size_t block_count;
    uint64_t generation; /* its number, as in snapshots */
};

#endif
