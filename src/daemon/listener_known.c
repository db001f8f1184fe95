/* SPDX-License-Identifier: ISC */
/* What exists before a change, sorted for lookups, since a change visits each item, on the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/listener_internal.h"

struct key {
    const char *name;
    const struct protocol *protocol;
};

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)a, right = (uintptr_t)b;
    return (left > right) - (left < right);
}

static int compare_key(const void *key, const void *entry)
{
    const struct key *sought = key;
    const struct listener *const *listener = entry;
    int result = strcmp(sought->name, (*listener)->name);
    return result != 0 ? result : compare_pointers(sought->protocol, (*listener)->protocol);
}

static int compare_listeners(const void *a, const void *b)
{
    const struct listener *const *listener = a;
    const struct key key = {.name = (*listener)->name, .protocol = (*listener)->protocol};
    return compare_key(&key, b);
}

static int compare_socket(const void *key, const void *entry)
{
    const struct listen_socket *const *listen_socket = entry;
    return compare_pointers(key, (*listen_socket)->socket);
}

static int compare_sockets(const void *a, const void *b)
{
    const struct listen_socket *const *listen_socket = a;
    return compare_socket((*listen_socket)->socket, b);
}

/* If the lists are NULL it only counts. */
static void gather(struct listeners *listeners, struct listeners_known *known)
{
    struct listener *listener;
    struct listen_socket *listen_socket;
    known->listener_count = known->socket_count = 0;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        if (known->listeners != NULL)
            known->listeners[known->listener_count] = listener;
        known->listener_count++;
        TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
            if (known->sockets != NULL)
                known->sockets[known->socket_count] = listen_socket;
            known->socket_count++;
        }
    }
    TAILQ_FOREACH (listener, &listeners->gone, link) {
        if (known->listeners != NULL)
            known->listeners[known->listener_count] = listener;
        known->listener_count++;
    }
}

int listeners_known_init(struct listeners_known *known, struct listeners *listeners)
{
    *known = (struct listeners_known){.listeners = NULL};
    gather(listeners, known);
    known->listeners = calloc(known->listener_count + 1, sizeof(struct listener *));
    known->sockets = calloc(known->socket_count + 1, sizeof(struct listen_socket *));
    if (known->listeners == NULL || known->sockets == NULL) {
        listeners_known_clear(known);
        errno = ENOMEM;
        return -1;
    }
    gather(listeners, known);
    qsort(known->listeners, known->listener_count, sizeof(struct listener *), compare_listeners);
    qsort(known->sockets, known->socket_count, sizeof(struct listen_socket *), compare_sockets);
    return 0;
}

void listeners_known_clear(struct listeners_known *known)
{
    free(known->listeners);
    free(known->sockets);
    *known = (struct listeners_known){.listeners = NULL};
}

struct listener *listeners_known_find(const struct listeners_known *known, const char *name,
                                      const struct protocol *protocol)
{
    const struct key key = {.name = name, .protocol = protocol};
    struct listener *const *found = bsearch(&key, known->listeners, known->listener_count,
                                            sizeof(struct listener *), compare_key);
    return found == NULL ? NULL : *found;
}

struct listen_socket *listeners_known_find_socket(const struct listeners_known *known,
                                                  const struct bound_socket *socket)
{
    struct listen_socket *const *found = bsearch(socket, known->sockets, known->socket_count,
                                                 sizeof(struct listen_socket *), compare_socket);
    return found == NULL ? NULL : *found;
}
