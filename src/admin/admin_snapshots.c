/* SPDX-License-Identifier: ISC */
/* Requests snapshots from the loop, one at a time and not more often than they expire, on behalf of
 * all clients that wait for one. */
#include "admin/admin_internal.h"

#include <stdlib.h>

/* How often one is requested again because it was of another generation, before clients stop
 * waiting for it. Once is enough unless generations follow each other closely. */
#define TRIES 3

struct admin_snapshot *admin_snapshot_new(struct admin *admin, const struct config *config)
{
    struct admin_snapshot *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    struct snapshot *snapshot = &made->request.snapshot;
    made->admin = admin;
    made->room = config->listener_count;
    snapshot->hosts = calloc(made->room + 1, sizeof(*snapshot->hosts));
    snapshot->listeners = calloc(made->room + 1, sizeof(*snapshot->listeners));
    snapshot->sessions = calloc(SNAPSHOT_SESSIONS_MAX, sizeof(*snapshot->sessions));
    if (snapshot->hosts != NULL && snapshot->listeners != NULL && snapshot->sessions != NULL)
        return made;
    admin_snapshot_free(made);
    return NULL;
}

void admin_snapshot_free(struct admin_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    free(snapshot->request.snapshot.hosts);
    free(snapshot->request.snapshot.listeners);
    free(snapshot->request.snapshot.sessions);
    free(snapshot);
}

static bool is_fresh(const struct admin_snapshots *snapshots, usec_t now)
{
    return snapshots->any && !snapshots->is_old && now - snapshots->came_at < ADMIN_SNAPSHOT_AGE;
}

static bool waits(const struct admin_connection *connection)
{
    return connection->state == ADMIN_WAITING && connection->order == NULL &&
           connection->reload == NULL;
}

static void answer_all(struct admin *admin)
{
    for (size_t i = 0; i < CONFIG_ADMIN_CONNECTIONS; i++) {
        if (waits(&admin->connections[i]))
            admin_show_status(&admin->connections[i]);
    }
}

static bool anybody_waits(const struct admin *admin)
{
    size_t i = 0;
    while (i < CONFIG_ADMIN_CONNECTIONS && !waits(&admin->connections[i]))
        i++;
    return i < CONFIG_ADMIN_CONNECTIONS;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    (void)fd;
    (void)what;
    admin->snapshots.is_late = true;
    answer_all(admin);
}

/* Is it one of the two in use, and not of a view that has been replaced? */
static bool is_current(const struct admin_snapshots *snapshots,
                       const struct admin_snapshot *snapshot)
{
    return snapshot == snapshots->both[0] || snapshot == snapshots->both[1];
}

/* False: it is discarded, since its subjects may be gone, or it was too small; and it is to be
 * requested again. */
static bool take(struct admin *admin, struct admin_snapshot *snapshot)
{
    struct admin_snapshots *snapshots = &admin->snapshots;
    bool was_taken = snapshot->request.snapshot.taken_at != 0; /* else the loop has ended */
    if (!is_current(snapshots, snapshot)) {
        admin_snapshot_free(snapshot);
        return !was_taken;
    }
    if (!was_taken)
        return true;
    if (snapshot->request.snapshot.generation != admin->view.generation)
        return ++snapshots->tries == TRIES;
    snapshots->last = snapshot == snapshots->both[1];
    snapshots->any = true;
    snapshots->came_at = admin_now();
    return true;
}

static void ask(struct admin *admin);

static void on_done(struct snapshot_request *request)
{
    struct admin_snapshot *snapshot = container_of(request, struct admin_snapshot, request);
    struct admin *admin = snapshot->admin;
    struct admin_snapshots *snapshots = &admin->snapshots;
    snapshots->asked = NULL;
    if (!take(admin, snapshot) && anybody_waits(admin)) {
        ask(admin); /* and the time limit of those waiting continues */
        return;
    }
    snapshots->is_late = false;
    event_del(&snapshots->late);
    answer_all(admin);
}

static void ask(struct admin *admin)
{
    struct admin_snapshots *snapshots = &admin->snapshots;
    struct admin_snapshot *next = snapshots->both[1 - snapshots->last];
    struct snapshot_request *request = &next->request;
    request->done = on_done;
    request->snapshot.host_count = request->snapshot.listener_count = next->room;
    request->snapshot.session_count = SNAPSHOT_SESSIONS_MAX;
    snapshots->asked = next;
    snapshots->is_old = false;
    snapshots->asked_at = admin_now();
    admin->ops.snapshot(admin->ops.arg, request);
}

void admin_want_snapshot(struct admin_connection *connection)
{
    const struct timeval wait = {.tv_sec = ADMIN_SNAPSHOT_WAIT / USEC_PER_SEC};
    struct admin *admin = connection->admin;
    struct admin_snapshots *snapshots = &admin->snapshots;
    if (is_fresh(snapshots, admin_now()) || snapshots->is_late) {
        admin_show_status(connection);
        return;
    }
    admin_wait(connection);
    if (snapshots->asked != NULL)
        return;
    snapshots->tries = 0;
    event_add(&snapshots->late, &wait);
    ask(admin);
}

const struct snapshot *admin_last_snapshot(const struct admin *admin, usec_t *age)
{
    const struct admin_snapshots *snapshots = &admin->snapshots;
    if (!snapshots->any)
        return NULL;
    *age = admin_now() - snapshots->came_at;
    return &snapshots->both[snapshots->last]->request.snapshot;
}

void admin_snapshots_init(struct admin *admin)
{
    event_assign(&admin->snapshots.late, admin->base, -1, 0, on_late, admin);
}

/* What the loop has is freed when it is returned. */
void admin_snapshots_renew(struct admin *admin, struct admin_snapshot *both[2])
{
    struct admin_snapshots *snapshots = &admin->snapshots;
    for (size_t i = 0; i < 2; i++) {
        if (snapshots->both[i] != snapshots->asked)
            admin_snapshot_free(snapshots->both[i]);
        snapshots->both[i] = both[i];
    }
    snapshots->any = false;
}

void admin_snapshots_clear(struct admin *admin)
{
    struct admin_snapshots *snapshots = &admin->snapshots;
    if (event_initialized(&snapshots->late))
        event_del(&snapshots->late);
    for (size_t i = 0; i < ARRAY_LEN(snapshots->both); i++)
        admin_snapshot_free(snapshots->both[i]);
}
