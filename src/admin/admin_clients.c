/* Who is connected to the admin server. evhttp has no limit of connections, and its timeout does
 * not end a client that sends a byte now and then; so each connection's bufferevent is made here,
 * and a second reference to it kept, by which it is seen that evhttp has let it go: then it has no
 * callbacks any more. Its descriptor is closed with the last reference. */
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "admin/admin_internal.h"

/* bufferevent_free takes the callbacks away; evhttp sets them as soon as it has one. */
static bool has_left(const struct admin_client *client)
{
    bufferevent_data_cb read = NULL, write = NULL;
    bufferevent_event_cb event = NULL;
    void *arg = NULL;
    bufferevent_getcb(client->bufferevent, &read, &write, &event, &arg);
    return event == NULL;
}

static void forget(struct admin *admin, struct admin_client *client)
{
    TAILQ_REMOVE(&admin->clients.list, client, link);
    admin->clients.count--;
    bufferevent_decref(client->bufferevent);
    free(client);
}

static void forget_left(struct admin *admin)
{
    struct admin_client *client, *next;
    for (client = TAILQ_FIRST(&admin->clients.list); client != NULL; client = next) {
        next = TAILQ_NEXT(client, link);
        if (has_left(client))
            forget(admin, client);
    }
}

/* evhttp asks for one with each client. What is NULL it makes itself, out of our sight: then its
 * own timeout must do. */
static struct bufferevent *make(struct event_base *base, void *arg)
{
    struct admin *admin = arg;
    forget_left(admin);
    struct admin_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->bufferevent = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (client->bufferevent == NULL) {
        free(client);
        return NULL;
    }
    bufferevent_incref(client->bufferevent);
    client->since = admin_now();
    TAILQ_INSERT_TAIL(&admin->clients.list, client, link);
    if (++admin->clients.count == CONFIG_ADMIN_CONNECTIONS)
        admin_set_accepting(admin, false);
    event_add(&admin->sweep, &(struct timeval){.tv_sec = 1});
    return client->bufferevent;
}

void admin_clients_init(struct admin *admin)
{
    TAILQ_INIT(&admin->clients.list);
    evhttp_set_bevcb(admin->http, make, admin);
}

void admin_clients_clear(struct admin *admin)
{
    struct admin_client *client;
    while ((client = TAILQ_FIRST(&admin->clients.list)) != NULL)
        forget(admin, client);
}

void admin_clients_answered(struct admin *admin, struct evhttp_request *request)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    const struct bufferevent *bufferevent =
        connection != NULL ? evhttp_connection_get_bufferevent(connection) : NULL;
    struct admin_client *client;
    TAILQ_FOREACH (client, &admin->clients.list, link) {
        if (client->bufferevent == bufferevent && !client->cut)
            client->since = admin_now();
    }
}

void admin_clients_sweep(struct admin *admin)
{
    struct admin_client *client;
    forget_left(admin);
    TAILQ_FOREACH (client, &admin->clients.list, link) {
        if (client->cut || admin_now() - client->since < ADMIN_TIME)
            continue;
        client->cut = true;
        shutdown(bufferevent_getfd(client->bufferevent), SHUT_RDWR); /* which evhttp then sees */
    }
    if (admin->clients.count < CONFIG_ADMIN_CONNECTIONS)
        admin_set_accepting(admin, true);
}
