/* SPDX-License-Identifier: ISC */
/* Checks the sections of a file against each other, and fills in derived values. */
#include "config/config_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/account.h"
#include "config/config_fields.h"
#include "config/config_tls.h"

/* Defaults are not meant to fit every max_open. */
static void warn_beyond_max_open(struct config_sections *sections,
                                 const struct config_section *section, const char *key,
                                 unsigned value)
{
    unsigned max_open = sections->config->pools[section->index].limits.max_open;
    bool known = config_section_line(section, "max_open") == 0 ||
                 config_section_is_valid(section, "max_open");

    if (known && config_section_is_valid(section, key) && value > max_open)
        config_errors_warn(&sections->errors, config_section_line(section, key),
                           "%s: %u is more than max_open allows (%u)", key, value, max_open);
}

static void check_pool(struct config_sections *sections, const struct config_section *section)
{
    const struct pool_limits *limits = &sections->config->pools[section->index].limits;
    unsigned most =
        limits->max_per_host < limits->max_open ? limits->max_per_host : limits->max_open;

    if (config_section_is_valid(section, "min_idle") && limits->min_idle > most)
        config_errors_add(&sections->errors, config_section_line(section, "min_idle"),
                          "min_idle: %u is more than max_per_host and max_open leave room for (%u)",
                          limits->min_idle, most);
    warn_beyond_max_open(sections, section, "max_per_host", limits->max_per_host);
    warn_beyond_max_open(sections, section, "max_tunnels", limits->max_tunnels);
}

static void check_required(struct config_sections *sections, const struct config_section *section)
{
    const struct config_section_kind *kind = &config_section_kinds[section->kind];

    for (size_t i = 0; i < kind->key_count; i++) {
        if (kind->keys[i].initial == NULL && section->lines[i] == 0)
            config_errors_add(&sections->errors, section->line,
                              "listener %s: the key %s is missing",
                              sections->config->listeners[section->index].name, kind->keys[i].name);
    }
}

static void resolve_pool(struct config_sections *sections, struct config_listener *listener,
                         const struct config_section *section)
{
    int line = config_section_line(section, "pool");

    if (line != 0 && !config_section_is_valid(section, "pool"))
        return;
    const struct config_section *pool =
        config_sections_find(sections, SECTION_POOL, listener->pool_name);
    if (pool == NULL) {
        config_errors_add(&sections->errors, line, "pool: there is no section [pool %s]",
                          listener->pool_name);
        return;
    }
    listener->pool = pool->index;
    if (listener->timeout == 0)
        listener->timeout = sections->config->pools[pool->index].limits.timeout;
}

/* Explains why the scheme does not allow the choice, or why one must be made. */
static void refuse_reuse(struct config_sections *sections, const struct config_listener *listener,
                         const struct config_section *section)
{
    int line = config_section_line(section, "reuse");
    const char *scheme = listener->upstream.scheme;

    if (listener->reuse == REUSE_UNSET)
        config_errors_add(
            &sections->errors, line != 0 ? line : section->line,
            "listener %s: reuse must be set, because scheme %s has no message boundaries: "
            "reuse = quiet (the connection is reused when the client closed first, in order, and "
            "the upstream sent last; the next client inherits whatever state was left in it, such "
            "as a login) or reuse = never (each client gets a connection that was not used before)",
            listener->name, scheme);
    else if (listener->reuse == REUSE_FRAMED)
        config_errors_add(&sections->errors, line,
                          "reuse: framed is for schemes with message boundaries, but scheme %s "
                          "has none: use quiet or never",
                          scheme);
    else
        config_errors_add(
            &sections->errors, line,
            "reuse: quiet is for opaque schemes, but scheme %s has message boundaries: "
            "use framed or never",
            scheme);
}

static void check_reuse(struct config_sections *sections, struct config_listener *listener,
                        const struct config_section *section)
{
    const struct scheme *scheme = endpoint_scheme(&listener->upstream);
    int line = config_section_line(section, "reuse");

    if (line != 0 && !config_section_is_valid(section, "reuse"))
        return;
    if (listener->reuse == REUSE_UNSET)
        listener->reuse = scheme->reuse_default;
    if ((scheme->reuse & REUSE_SET(listener->reuse)) == 0)
        refuse_reuse(sections, listener, section);
}

/* Keys that have no effect with the upstream's scheme. */
static void check_effect(struct config_sections *sections, const struct config_listener *listener,
                         const struct config_section *section)
{
    const struct config_section_kind *kind = &config_section_kinds[section->kind];
    const struct scheme *scheme = endpoint_scheme(&listener->upstream);

    for (size_t i = 0; i < kind->key_count; i++) {
        const struct config_key *key = &kind->keys[i];
        if (section->lines[i] != 0 && !config_key_suits(key, scheme))
            config_errors_add(&sections->errors, section->lines[i],
                              "%s: has no effect on scheme %s", key->name,
                              listener->upstream.scheme);
    }
}

static void check_certificate(struct config_sections *sections,
                              const struct config_listener *listener,
                              const struct config_section *section)
{
    bool cert =
        config_section_is_valid(section, "tls_cert_file") && *listener->tls_cert_file != '\0';
    bool key = config_section_is_valid(section, "tls_key_file") && *listener->tls_key_file != '\0';

    if (cert && !key)
        config_errors_add(&sections->errors, config_section_line(section, "tls_cert_file"),
                          "tls_cert_file: tls_key_file must be given as well");
    if (key && !cert)
        config_errors_add(&sections->errors, config_section_line(section, "tls_key_file"),
                          "tls_key_file: tls_cert_file must be given as well");
}

/* If the upstream's scheme is unknown, files that are set are assumed to be for TLS. */
static bool takes_tls(const struct config_listener *listener, const struct config_section *section)
{
    const struct scheme *scheme = endpoint_scheme(&listener->upstream);
    if (scheme != NULL)
        return scheme->tls;
    return config_section_is_valid(section, "tls_ca_file") ||
           config_section_is_valid(section, "tls_cert_file") ||
           config_section_is_valid(section, "tls_key_file");
}

static void note_tls_lines(struct config_listener *listener, const struct config_section *section)
{
    listener->tls_lines = (struct config_tls_lines){
        .ca_file = config_section_line(section, "tls_ca_file"),
        .cert_file = config_section_line(section, "tls_cert_file"),
        .key_file = config_section_line(section, "tls_key_file"),
    };
}

/* A missing or wrong upstream hides no mistake that can be found without it. */
static void check_upstream(struct config_sections *sections, struct config_listener *listener,
                           const struct config_section *section)
{
    if (endpoint_scheme(&listener->upstream) != NULL) {
        check_reuse(sections, listener, section);
        check_effect(sections, listener, section);
    }
    note_tls_lines(listener, section);
    if (takes_tls(listener, section)) {
        check_certificate(sections, listener, section);
        config_tls_load(sections, section);
    }
}

/* Adds a mistake for each of `mine` that conflicts with another section's socket. */
static void check_taken(struct config_sections *sections, const struct config_addresses *mine,
                        const struct config_addresses *others, const char *whose, const char *name)
{
    for (size_t i = 0; i < others->count * mine->count; i++) {
        const struct config_address *other = &others->list[i / mine->count];
        const struct config_address *address = &mine->list[i % mine->count];
        if (listen_address_overlaps(&other->address, &address->address))
            config_errors_add(&sections->errors, address->line,
                              "listen: %s is taken by %s%s on line %d (%s)", address->address.text,
                              whose, name, other->line, other->address.text);
    }
}

/* Compares a listener's addresses with those of the previous listeners; its own were compared with
 * each other when they were parsed. */
static void check_addresses(struct config_sections *sections, const struct config_section *section)
{
    const struct config_listener *listeners = sections->config->listeners;

    for (size_t i = 0; i < section->index; i++)
        check_taken(sections, &listeners[section->index].addresses, &listeners[i].addresses,
                    "listener ", listeners[i].name);
}

/* Keys that need a unix socket to have an effect. */
static void check_unix(struct config_sections *sections, const struct config_addresses *addresses,
                       const struct config_section *section)
{
    const struct config_section_kind *kind = &config_section_kinds[section->kind];

    if (!config_section_is_valid(section, "listen") || addresses->count == 0 ||
        config_addresses_have_unix(addresses))
        return;
    for (size_t i = 0; i < kind->key_count; i++) {
        if (section->lines[i] != 0 && kind->keys[i].for_unix)
            config_errors_add(&sections->errors, section->lines[i],
                              "%s: has no effect without a unix:/path in listen",
                              kind->keys[i].name);
    }
}

static bool is_set(const char *name)
{
    return name != NULL && *name != '\0';
}

/* An account that existed a moment ago. */
static void lose_account(struct config_sections *sections, const char *name)
{
    config_errors_add(&sections->errors, 0, "cannot look up %s: %s", name,
                      errno == 0 ? "it no longer exists" : strerror(errno));
}

/* The owner of a unix socket. Names that do not exist were already rejected. */
static void resolve_socket(struct config_sections *sections, struct config_socket *socket)
{
    const char *name = socket->user;
    if (!is_set(name) && geteuid() == 0) /* otherwise it has no effect */
        name = sections->config->user;
    socket->file.uid = SOCKET_FILE_OURS;
    socket->file.gid = SOCKET_FILE_OURS;
    if (is_set(name) && account_find_user(name, &socket->file.uid, &socket->file.gid) < 0)
        lose_account(sections, name);
    if (is_set(socket->group) && account_find_group(socket->group, &socket->file.gid) < 0)
        lose_account(sections, socket->group);
}

static void check_listener(struct config_sections *sections, const struct config_section *section)
{
    struct config_listener *listener = &sections->config->listeners[section->index];

    check_required(sections, section);
    resolve_pool(sections, listener, section);
    if (listener->response_timeout == CONFIG_TIME_UNSET)
        listener->response_timeout = listener->idle_timeout;
    check_upstream(sections, listener, section);
    check_addresses(sections, section);
    check_unix(sections, &listener->addresses, section);
    resolve_socket(sections, &listener->socket);
}

/* The default address of the admin pages: in the directory that systemd has created for us; if
 * there are several, in the first one. */
static void set_default_socket(struct config_sections *sections, struct config_admin *admin)
{
    const char *directory = getenv("RUNTIME_DIRECTORY");
    char text[CONFIG_VALUE_MAX];
    const char *error;

    if (directory == NULL || *directory == '\0')
        return;
    snprintf(text, sizeof(text), "unix:%.*s/admin.sock", (int)strcspn(directory, ":"), directory);
    admin->addresses.list = calloc(1, sizeof(*admin->addresses.list));
    if (admin->addresses.list == NULL) {
        config_errors_add(&sections->errors, 0, "%s", strerror(ENOMEM));
    } else if (listen_address_parse(&admin->addresses.list->address, text, strlen(text), &error) <
               0) {
        config_errors_add(&sections->errors, 0,
                          "[admin] listen: by default it is $RUNTIME_DIRECTORY/admin.sock, "
                          "\"%s\": %s; set it, or listen = off",
                          text, error);
    } else {
        admin->addresses.count = 1;
    }
}

static void check_admin(struct config_sections *sections, const struct config_section *section)
{
    struct config_admin *admin = &sections->config->admin;
    const struct config_listener *listeners = sections->config->listeners;
    bool given = config_section_line(section, "listen") != 0;

    if (admin->addresses.count == 0 && !admin->off &&
        (!given || config_section_is_valid(section, "listen")))
        set_default_socket(sections, admin);
    for (size_t i = 0; i < sections->config->listener_count; i++)
        check_taken(sections, &admin->addresses, &listeners[i].addresses, "listener ",
                    listeners[i].name);
    check_unix(sections, &admin->addresses, section);
    resolve_socket(sections, &admin->socket);
}

static void note_lines(struct config *config, const struct config_section *section)
{
    config->log_line = config_section_line(section, "log");
    config->access_log_line = config_section_line(section, "access_log");
    config->pid_file_line = config_section_line(section, "pid_file");
}

void config_check(struct config_sections *sections)
{
    for (size_t i = 0; i < sections->count; i++) {
        const struct config_section *section = &sections->list[i];
        if (section->mistaken)
            continue;
        if (section->kind == SECTION_KAPROXY)
            note_lines(sections->config, section);
        else if (section->kind == SECTION_ADMIN)
            check_admin(sections, section);
        else if (section->kind == SECTION_POOL)
            check_pool(sections, section);
        else if (section->kind == SECTION_LISTENER)
            check_listener(sections, section);
    }
    if (sections->config->listener_count == 0 && !sections->lost)
        config_errors_add(&sections->errors, 1,
                          "no section [listener NAME]: there is nothing to do");
}
