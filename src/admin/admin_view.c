/* SPDX-License-Identifier: ISC */
/* Replaces one generation of the configuration by another: completely, or not at all. */
#include "admin/admin_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_internal.h"

/* What is made for a view, before any of it is shown. */
struct made {
    struct metric_block *blocks;
    size_t block_count;
    struct history *history;
    struct admin_snapshot *snapshots[2];
};

/* The view's blocks, followed by ours. */
static void join_blocks(struct made *made, const struct admin *admin, const struct admin_view *view)
{
    made->blocks = calloc(view->block_count + 1, sizeof(*made->blocks));
    if (made->blocks == NULL)
        return;
    if (view->block_count > 0)
        memcpy(made->blocks, view->blocks, view->block_count * sizeof(*made->blocks));
    made->block_count = view->block_count;
    if (admin->ops.reload_stats != NULL)
        made->blocks[made->block_count++] =
            (struct metric_block){.set = &reload_metrics, .block = admin->ops.reload_stats};
}

static void unmake(struct made *made)
{
    free(made->blocks);
    history_free(made->history);
    admin_snapshot_free(made->snapshots[0]);
    admin_snapshot_free(made->snapshots[1]);
}

/* 0, or -1 with ENOMEM. */
static int make(struct made *made, struct admin *admin, const struct admin_view *view)
{
    *made = (struct made){.blocks = NULL};
    join_blocks(made, admin, view);
    if (made->blocks == NULL)
        goto err;
    if (admin->history == NULL)
        made->history = history_new(made->blocks, made->block_count, admin_now());
    else
        made->history = history_continue(admin->history, made->blocks, made->block_count);
    made->snapshots[0] = admin_snapshot_new(admin, view->config);
    made->snapshots[1] = admin_snapshot_new(admin, view->config);
    if (made->history != NULL && made->snapshots[0] != NULL && made->snapshots[1] != NULL)
        return 0;

err:
    unmake(made);
    errno = ENOMEM;
    return -1;
}

int admin_set_view(struct admin *admin, const struct admin_view *view)
{
    struct made made;
    if (make(&made, admin, view) < 0)
        return -1;
    history_free(admin->history); /* which borrows the old blocks */
    free(admin->blocks);
    admin->history = made.history;
    admin->blocks = made.blocks;
    admin->view = *view;
    admin->view.blocks = made.blocks;
    admin->view.block_count = made.block_count;
    admin_snapshots_renew(admin, made.snapshots);
    return 0;
}
