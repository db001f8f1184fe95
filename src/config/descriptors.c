/* SPDX-License-Identifier: ISC */
/* Adds up the descriptors that a configuration can use. */
#include "config/descriptors.h"

#include "net/address.h"
#include "net/pipes.h"

/* Standard input, output and error; two logs, with a new one while it is reopened, and two more for
 * their writer; two for signals; an epoll set and a mailbox each for the control thread and for the
 * loop, which also has a timer; the rest are the resolver's sockets and files. */
#define OWN 32

/* For the admin pages, besides their listen sockets: connections, and one accepted while a closed
 * one is still being released. */
#define ADMIN (CONFIG_ADMIN_CONNECTIONS + 1)

static uint64_t min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool is_name(const struct endpoint *endpoint)
{
    union address address;
    return !address_parse(&address, endpoint->addr);
}

/* Can clients hold connections within max_tunnels, apart from max_per_host? Those of every framed
 * protocol can. */
static bool can_be_held(const struct endpoint *endpoint)
{
    return endpoint_scheme(endpoint)->protocol != PROTOCOL_OPAQUE;
}

/* Only upstreams of listeners are dialled, so there are no more hosts than listeners. A dial's
 * first attempt is counted among the connections, plus one more for each dial; further ones run
 * only while several addresses of a name are silent. */
static void add_pool(struct descriptors *needed, const struct config *config, size_t index)
{
    const struct pool_limits *limits = &config->pools[index].limits;
    uint64_t connecting = limits->max_connecting == 0
                              ? limits->max_per_host
                              : min(limits->max_connecting, limits->max_per_host);
    uint64_t hosts = 0, names = 0, holding = 0;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (listener->pool == index) {
            hosts++;
            names += is_name(&listener->upstream);
            holding += can_be_held(&listener->upstream);
        }
    }
    uint64_t others = min(limits->max_open, hosts * limits->max_per_host);
    needed->connections += others;
    needed->held += min(limits->max_open - others, holding * limits->max_tunnels);
    needed->attempts += min(limits->max_open, names * connecting);
}

struct descriptors descriptors_needed(const struct config *config)
{
    struct descriptors needed = {.own = OWN};
    for (size_t i = 0; i < config->listener_count; i++)
        needed.own += config->listeners[i].addresses.count;
    if (config->admin.addresses.count > 0)
        needed.own += config->admin.addresses.count + ADMIN;
    for (size_t i = 0; i < config->pool_count; i++)
        add_pool(&needed, config, i);
    return needed;
}

uint64_t descriptors_connections(const struct descriptors *needed, uint64_t clients)
{
    return needed->connections + needed->attempts + min(needed->held, clients);
}

unsigned descriptors_clients(const struct config *config, const struct descriptors *needed,
                             uint64_t limit)
{
    uint64_t others = descriptors_connections(needed, 0) + needed->own;
    uint64_t left = limit <= others ? 0 : limit - others;
    /* Each client may hold a connection, unless all are held. */
    left -= min(needed->held, left - left / 2);
    return (unsigned)min(config->max_clients, left);
}

unsigned descriptors_pipes(const struct config *config, const struct descriptors *needed,
                           uint64_t limit)
{
    uint64_t clients = config->max_clients;
    uint64_t others = descriptors_connections(needed, clients) + needed->own + clients;
    return limit <= others ? 0 : (unsigned)min(PIPES_MAX, (limit - others) / PIPE_DESCRIPTORS);
}
