/* SPDX-License-Identifier: ISC */
/* Opens, adopts and shares what a configuration needs from the system. */
#include "daemon/generation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/start.h"

/* What one address of a configuration belongs to. */
struct place {
    const struct config_address *address;
    const struct config_socket *socket;
    const char *whose, *name;    /* for messages: "listener ", "shop" */
    const char *descriptor_name; /* by which systemd may name its socket */
};

static size_t count_addresses(const struct config *config)
{
    size_t count = config->admin.addresses.count;
    for (size_t i = 0; i < config->listener_count; i++)
        count += config->listeners[i].addresses.count;
    return count;
}

static struct place place_at(const struct config *config, size_t index)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (index < listener->addresses.count)
            return (struct place){.address = &listener->addresses.list[index],
                                  .socket = &listener->socket,
                                  .whose = "listener ",
                                  .name = listener->name,
                                  .descriptor_name = listener->name};
        index -= listener->addresses.count;
    }
    return (struct place){.address = &config->admin.addresses.list[index],
                          .socket = &config->admin.socket,
                          .whose = "[admin]",
                          .name = "",
                          .descriptor_name = INHERITED_ADMIN};
}

static PRINTF(3, 4) void add_finding(struct config_errors *findings, const struct place *place,
                                     const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    config_errors_add(findings, place->address->line, "%s%s: %s", place->whose, place->name, text);
}

static bool is_same_file(const struct config_socket *a, const struct config_socket *b)
{
    return a->file.mode == b->file.mode && strcmp(a->user, b->user) == 0 &&
           strcmp(a->group, b->group) == 0;
}

/* 0, or -1 with a finding. */
static int set_file(const struct bound_socket *socket, const struct place *place,
                    const struct config_socket *before, struct config_errors *findings)
{
    const char *error;
    if (place->address->address.sa.ss_family != AF_UNIX || is_same_file(place->socket, before) ||
        bound_socket_set_file(socket, &place->socket->file, &error) == 0)
        return 0;
    add_finding(findings, place, "cannot change who may connect to %s: %s",
                place->address->address.text, error);
    return -1;
}

/* The index of a socket of `current` on this address, or the count: none. */
static size_t find_open(const struct generation *current, const struct listen_address *address)
{
    size_t i = 0;
    while (i < current->socket_count &&
           !listen_address_equals(bound_socket_address(current->sockets[i]), address))
        i++;
    return i;
}

/* A socket on another address that excludes this one; NULL: none. It is not in the new
 * configuration, whose addresses do not exclude each other. */
static const struct listen_address *find_overlapping(const struct generation *current,
                                                     const struct listen_address *address)
{
    for (size_t i = 0; i < current->socket_count; i++) {
        const struct listen_address *open = bound_socket_address(current->sockets[i]);
        if (listen_address_overlaps(open, address))
            return open;
    }
    return NULL;
}

/* NULL with a finding. */
static struct bound_socket *open_socket(const struct place *place, const struct generation *current,
                                        struct config_errors *findings)
{
    const struct listen_address *address = &place->address->address;
    const struct listen_address *open = current == NULL ? NULL : find_overlapping(current, address);
    const char *error;
    if (open != NULL) {
        add_finding(findings, place,
                    "cannot listen on %s beside %s, which is open until this configuration is in "
                    "effect: that needs a restart",
                    address->text, open->text);
        return NULL;
    }
    struct bound_socket *socket = bound_socket_open(address, &place->socket->file, &error);
    if (socket == NULL)
        add_finding(findings, place, "cannot listen on %s: %s%s", address->text, error,
                    current != NULL && strcmp(error, strerror(EACCES)) == 0
                        ? ": the running kaproxy lacks the privilege; a restart may have it"
                        : "");
    return socket;
}

/* Where the socket for an address comes from, in this order: open already, passed to us for this
 * address, passed for this name, newly opened. */
struct search {
    struct generation *generation;
    const struct generation *current; /* NULL: none */
    struct inherited *inherited;      /* the same */
    struct config_errors *findings;
    bool failed; /* nothing was found for one of them, and there is a finding */
};

enum found { FOUND, FOUND_NOTHING, FOUND_UNFIT };
typedef enum found seek(const struct search *search, const struct place *place,
                        struct bound_socket **socket);

static enum found seek_open(const struct search *search, const struct place *place,
                            struct bound_socket **socket)
{
    const struct generation *current = search->current;
    size_t i = current == NULL ? 0 : find_open(current, &place->address->address);
    if (current == NULL || i == current->socket_count)
        return FOUND_NOTHING;
    const struct place before = place_at(current->config, i);
    bool is_admins = place->socket == &search->generation->config->admin.socket;
    if (is_admins != (i >= current->admin_at)) {
        add_finding(search->findings, place,
                    "cannot listen on %s, which is %s%s's until this configuration is in effect: "
                    "that needs a restart",
                    place->address->address.text, before.whose, before.name);
        return FOUND_UNFIT;
    }
    if (set_file(current->sockets[i], place, before.socket, search->findings) < 0)
        return FOUND_UNFIT;
    *socket = bound_socket_ref(current->sockets[i]);
    return FOUND;
}

/* A predecessor passes on what systemd passed to it. Only of unix sockets is that known: it leaves
 * us the files of its own. */
static bool is_systemds(const struct inherited *inherited, const struct listen_address *address,
                        bool is_ours)
{
    return !inherited_has_predecessor(inherited) || (address->sa.ss_family == AF_UNIX && !is_ours);
}

static enum found adopt(const struct search *search, const struct place *place, const char *name,
                        struct bound_socket **socket)
{
    const struct listen_address *address = &place->address->address;
    bool is_ours;
    const char *error;
    int fd = inherited_find(search->inherited, address, name, &is_ours);
    if (fd < 0)
        return FOUND_NOTHING;
    *socket = bound_socket_adopt(fd, address, is_ours, &error);
    if (*socket != NULL) {
        if (is_systemds(search->inherited, address, is_ours))
            bound_socket_set_kept(*socket);
        return FOUND;
    }
    close(fd);
    add_finding(search->findings, place, "cannot use the socket that was passed for %s: %s",
                address->text, error);
    return FOUND_UNFIT;
}

static enum found seek_passed(const struct search *search, const struct place *place,
                              struct bound_socket **socket)
{
    return adopt(search, place, NULL, socket);
}

static enum found seek_named(const struct search *search, const struct place *place,
                             struct bound_socket **socket)
{
    return adopt(search, place, place->descriptor_name, socket);
}

static enum found seek_new(const struct search *search, const struct place *place,
                           struct bound_socket **socket)
{
    *socket = open_socket(place, search->current, search->findings);
    return *socket == NULL ? FOUND_UNFIT : FOUND;
}

/* One of these sources, for all addresses without a socket; `unfit` marks those that cannot have
 * one. */
static void seek_all(struct search *search, seek *way, bool *unfit)
{
    struct generation *generation = search->generation;
    for (size_t i = 0; i < generation->socket_count; i++) {
        const struct place place = place_at(generation->config, i);
        if (generation->sockets[i] == NULL && !unfit[i])
            unfit[i] = way(search, &place, &generation->sockets[i]) == FOUND_UNFIT;
        search->failed |= unfit[i];
    }
}

/* Finds all mistakes, not only the first. 0, or -1 with findings. */
static int find_sockets(struct search *search)
{
    static seek *const ways[] = {seek_open, seek_passed, seek_named, seek_new};
    struct generation *generation = search->generation;
    const struct config *config = generation->config;
    size_t count = count_addresses(config);
    bool *unfit = calloc(count, sizeof(*unfit));
    generation->admin_at = count - config->admin.addresses.count;
    generation->sockets = calloc(count, sizeof(struct bound_socket *));
    if (unfit == NULL || generation->sockets == NULL) {
        config_errors_add(search->findings, 0, "%s", strerror(errno));
        free(unfit);
        return -1;
    }
    generation->socket_count = count;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        seek_all(search, ways[i], unfit);
    free(unfit);
    return search->failed ? -1 : 0;
}

static bool is_unchanged(const struct config *before, const struct config_listener *listener)
{
    for (size_t i = 0; i < before->listener_count; i++) {
        if (strcmp(before->listeners[i].name, listener->name) == 0)
            return config_listener_is_like(&before->listeners[i], listener);
    }
    return false;
}

/* Here, since it takes longer than a worker's loop may be blocked. 0, or -1 with a finding. */
static int compare_listeners(struct generation *generation, const struct generation *current,
                             struct config_errors *findings)
{
    const struct config *config = generation->config;
    generation->unchanged = calloc(config->listener_count, sizeof(bool));
    if (generation->unchanged == NULL) {
        config_errors_add(findings, 0, "%s", strerror(errno));
        return -1;
    }
    for (size_t i = 0; current != NULL && i < config->listener_count; i++)
        generation->unchanged[i] = is_unchanged(current->config, &config->listeners[i]);
    return 0;
}

/* The number of clients there is room for; 0 with a finding: none. */
static unsigned share_descriptors(struct generation *generation, bool is_start,
                                  struct config_errors *findings)
{
    const struct start start = {.config = generation->config, .findings = findings};
    return is_start ? start_share_descriptors(&start, &generation->max_pipes)
                    : start_share_again(generation->config, findings, &generation->max_pipes);
}

static bool has_socket(const struct generation *generation, const struct bound_socket *socket)
{
    size_t i = 0;
    while (i < generation->socket_count && generation->sockets[i] != socket)
        i++;
    return i < generation->socket_count;
}

/* Clients of what we close are refused, but not where systemd keeps it open. */
static void warn_of_kept(const struct generation *generation, const struct generation *current,
                         struct config_errors *findings)
{
    for (size_t i = 0; current != NULL && i < current->socket_count; i++) {
        const struct bound_socket *socket = current->sockets[i];
        if (bound_socket_is_kept(socket) && !has_socket(generation, socket))
            config_errors_warn(findings, 0,
                               "nothing accepts clients of %s any more, but systemd still listens "
                               "there, so they wait: remove it from the socket unit, too",
                               bound_socket_address(socket)->text);
    }
}

struct generation *generation_make(struct config *config, const struct generation *current,
                                   struct inherited *inherited, struct config_errors *findings)
{
    struct generation *generation = calloc(1, sizeof(*generation));
    if (generation == NULL) {
        config_errors_add(findings, 0, "%s", strerror(errno));
        config_unref(config);
        return NULL;
    }
    generation->config = config;
    generation->number = current == NULL ? 1 : current->number + 1;
    struct search search = {
        .generation = generation, .current = current, .inherited = inherited, .findings = findings};
    int result = find_sockets(&search);
    if (compare_listeners(generation, current, findings) < 0)
        result = -1;
    if (tls_clients_init(&generation->tls_clients, config,
                         current == NULL ? NULL : &current->tls_clients, findings) < 0)
        result = -1;
    generation->max_clients = share_descriptors(generation, current == NULL, findings);
    if (result == 0 && generation->max_clients > 0) {
        warn_of_kept(generation, current, findings);
        return generation;
    }
    generation_undo(generation, current);
    return NULL;
}

/* Every mistake is found: what was made despite one is undone. */
static struct generation *load(struct config *config, const struct generation *current,
                               struct log_change **logs, struct config_errors *findings)
{
    *logs = start_open_again(config, findings);
    struct generation *generation = generation_make(config, current, NULL, findings);
    if (generation != NULL && *logs != NULL)
        return generation;
    if (generation != NULL)
        generation_undo(generation, current);
    log_change_free(*logs);
    *logs = NULL;
    return NULL;
}

struct generation *generation_load(const char *file, const struct generation *current,
                                   struct log_change **logs, FILE *errors)
{
    struct config_errors findings;
    struct config *config = config_load_again(file, errors);
    if (config == NULL)
        return NULL;
    config_errors_init(&findings);
    struct generation *generation = load(config_ref(config), current, logs, &findings);
    config_errors_write(&findings, config->file, errors);
    config_errors_clear(&findings);
    config_unref(config);
    return generation;
}

void generation_free(struct generation *generation)
{
    if (generation == NULL)
        return;
    for (size_t i = 0; i < generation->socket_count; i++)
        bound_socket_unref(generation->sockets[i]);
    free(generation->sockets);
    free(generation->unchanged);
    tls_clients_clear(&generation->tls_clients);
    config_unref(generation->config);
    free(generation);
}

void generation_undo(struct generation *generation, const struct generation *current)
{
    for (size_t i = 0; current != NULL && i < generation->socket_count; i++) {
        if (generation->sockets[i] == NULL)
            continue;
        size_t was_at = find_open(current, bound_socket_address(generation->sockets[i]));
        struct config_errors nobody_reads;
        if (was_at == current->socket_count)
            continue;
        const struct place now = place_at(current->config, was_at);
        const struct place then = place_at(generation->config, i);
        config_errors_init(&nobody_reads);
        (void)!set_file(generation->sockets[i], &now, then.socket, &nobody_reads);
        config_errors_clear(&nobody_reads);
    }
    generation_free(generation);
}
