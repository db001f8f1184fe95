/* SPDX-License-Identifier: ISC */
/* Writes metrics, for programs that read them: write_metrics text|openmetrics [FILE].
 *
 * With the name of a kaproxy.ini they are all metrics of a worker that has not begun, else made-up
 * ones, with large numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/exposition.h"
#include "daemon/worker.h"
#include "support/admin_world.h"

static int write_out(const struct admin_ops *ops, const struct admin_view *view, bool openmetrics)
{
    struct evbuffer *out = evbuffer_new();
    int result = out == NULL ? -1 : exposition_write(out, ops, view, openmetrics);
    while (result == 0 && evbuffer_get_length(out) > 0)
        result = evbuffer_write(out, 1) < 0 ? -1 : 0;
    if (out != NULL)
        evbuffer_free(out);
    return result;
}

static int write_world(bool openmetrics)
{
    struct admin_world *world = admin_world_new();
    for (unsigned i = 0; i < HISTOGRAM_LIMITS; i++) {
        admin_world_times(&world->web.wait, i, histogram_limit(i));
        admin_world_times(&world->web_listener.exchange, 1, histogram_limit(i) + 1);
    }
    gauge_set(&world->web.connections[WORLD_BUSY], 3);
    gauge_set(&world->process.lag, 1234567);
    counter_set(&world->web_listener.bytes[0], UINT64_MAX);
    int result = write_out(&world->ops, &world->view, openmetrics);
    admin_world_free(world);
    return result;
}

/* A worker's, and those that the admin pages add. */
static int write_blocks(const struct admin_view *of_worker, bool openmetrics)
{
    static struct reload_stats stats;
    const struct admin_ops ops = {.started_at = 0};
    struct admin_view view = *of_worker;
    struct metric_block *blocks = calloc(view.block_count + 1, sizeof(*blocks));
    if (blocks == NULL)
        return -1;
    memcpy(blocks, view.blocks, view.block_count * sizeof(*blocks));
    blocks[view.block_count++] = (struct metric_block){.set = &reload_metrics, .block = &stats};
    view.blocks = blocks;
    int result = write_out(&ops, &view, openmetrics);
    free(blocks);
    return result;
}

static int write_worker(const char *file, bool openmetrics)
{
    int result = -1;
    struct config *config = config_load(file, stderr);
    struct config_errors findings;
    config_errors_init(&findings);
    struct generation *generation =
        config == NULL ? NULL : generation_make(config, NULL, NULL, &findings);
    struct worker *worker = generation == NULL ? NULL : worker_new(generation, -1);
    if (worker != NULL) {
        struct worker_view *view = worker_first_view(worker);
        result = write_blocks(worker_view_get(view), openmetrics);
        worker_release_view(worker, view);
    }
    worker_free(worker);
    generation_free(generation);
    config_errors_clear(&findings);
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        return 2;
    bool openmetrics = strcmp(argv[1], "openmetrics") == 0;
    return argc == 2 ? write_world(openmetrics) : write_worker(argv[2], openmetrics);
}
