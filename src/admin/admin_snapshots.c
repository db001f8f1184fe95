/* Asks the loop for snapshots, one at a time and not more often than they grow old, on behalf of
 * all who wait for one. */
#include "admin/admin_internal.h"

#include <stdlib.h>

static int snapshot_init(struct snapshot *snapshot, const struct config *config)
{
    snapshot->hosts = calloc(config->listener_count, sizeof(*snapshot->hosts));
    snapshot->listeners = calloc(config->listener_count, sizeof(*snapshot->listeners));
    snapshot->sessions = calloc(SNAPSHOT_SESSIONS_MAX, sizeof(*snapshot->sessions));
    return snapshot->hosts == NULL || snapshot->listeners == NULL || snapshot->sessions == NULL ? -1
                                                                                                : 0;
}

static bool is_fresh(const struct admin_snapshots *snapshots, usec_t now)
{
    return snapshots->any && !snapshots->is_old && now - snapshots->came_at < ADMIN_SNAPSHOT_AGE;
}

static void answer_all(struct admin *admin)
{
    for (size_t i = 0; i < CONFIG_ADMIN_CONNECTIONS; i++) {
        struct admin_connection *connection = &admin->connections[i];
        if (connection->state == ADMIN_WAITING && connection->order == NULL)
            admin_show_status(connection);
    }
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    (void)fd;
    (void)what;
    admin->snapshots.is_late = true;
    answer_all(admin);
}

static void on_done(struct snapshot_request *request)
{
    struct admin_snapshot *snapshot = container_of(request, struct admin_snapshot, request);
    struct admin *admin = snapshot->admin;
    struct admin_snapshots *snapshots = &admin->snapshots;
    snapshots->asked = snapshots->is_late = false;
    event_del(&snapshots->late);
    if (request->snapshot.taken_at != 0) { /* else the loop has ended */
        snapshots->last = (unsigned)(snapshot - snapshots->both);
        snapshots->any = true;
        snapshots->came_at = admin_now();
    }
    answer_all(admin);
}

static void ask(struct admin *admin)
{
    const struct timeval wait = {.tv_sec = ADMIN_SNAPSHOT_WAIT / USEC_PER_SEC};
    struct admin_snapshots *snapshots = &admin->snapshots;
    struct snapshot_request *request = &snapshots->both[1 - snapshots->last].request;
    request->done = on_done;
    request->snapshot.host_count = request->snapshot.listener_count = admin->config->listener_count;
    request->snapshot.session_count = SNAPSHOT_SESSIONS_MAX;
    snapshots->asked = true;
    snapshots->is_old = false;
    snapshots->asked_at = admin_now();
    event_add(&snapshots->late, &wait);
    admin->ops.snapshot(admin->ops.arg, request);
}

void admin_want_snapshot(struct admin_connection *connection)
{
    struct admin *admin = connection->admin;
    const struct admin_snapshots *snapshots = &admin->snapshots;
    if (is_fresh(snapshots, admin_now()) || snapshots->is_late) {
        admin_show_status(connection);
        return;
    }
    admin_wait(connection);
    if (!snapshots->asked)
        ask(admin);
}

const struct snapshot *admin_last_snapshot(const struct admin *admin, usec_t *age)
{
    const struct admin_snapshots *snapshots = &admin->snapshots;
    if (!snapshots->any)
        return NULL;
    *age = admin_now() - snapshots->came_at;
    return &snapshots->both[snapshots->last].request.snapshot;
}

int admin_snapshots_init(struct admin *admin)
{
    struct admin_snapshots *snapshots = &admin->snapshots;
    for (size_t i = 0; i < ARRAY_LEN(snapshots->both); i++) {
        snapshots->both[i].admin = admin;
        if (snapshot_init(&snapshots->both[i].request.snapshot, admin->config) < 0)
            return -1;
    }
    event_assign(&snapshots->late, admin->base, -1, 0, on_late, admin);
    return 0;
}

void admin_snapshots_clear(struct admin *admin)
{
    struct admin_snapshots *snapshots = &admin->snapshots;
    if (event_initialized(&snapshots->late))
        event_del(&snapshots->late);
    for (size_t i = 0; i < ARRAY_LEN(snapshots->both); i++) {
        struct snapshot *snapshot = &snapshots->both[i].request.snapshot;
        free(snapshot->hosts);
        free(snapshot->listeners);
        free(snapshot->sessions);
    }
}
