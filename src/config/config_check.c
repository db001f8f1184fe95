#include "config/config_check.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "config/config_record.h"
#include "config/config_tls.h"

/* Defaults are not meant to fit every max_open. */
static void warn_beyond_max_open(struct config_parts *parts, const struct config_part *part,
                                 const char *key, unsigned value)
{
    unsigned max_open = parts->config->pools[part->index].limits.max_open;
    bool known = config_part_line(part, "max_open") == 0 || config_part_is_valid(part, "max_open");

    if (known && config_part_is_valid(part, key) && value > max_open)
        config_errors_warn(&parts->errors, config_part_line(part, key),
                           "%s: %u is more than max_open allows (%u)", key, value, max_open);
}

static void check_pool(struct config_parts *parts, const struct config_part *part)
{
    const struct pool_limits *limits = &parts->config->pools[part->index].limits;
    unsigned most =
        limits->max_per_host < limits->max_open ? limits->max_per_host : limits->max_open;

    if (config_part_is_valid(part, "min_idle") && limits->min_idle > most)
        config_errors_add(&parts->errors, config_part_line(part, "min_idle"),
                          "min_idle: %u is more than max_per_host and max_open leave room for (%u)",
                          limits->min_idle, most);
    warn_beyond_max_open(parts, part, "max_per_host", limits->max_per_host);
    warn_beyond_max_open(parts, part, "max_tunnels", limits->max_tunnels);
}

static void check_required(struct config_parts *parts, const struct config_part *part)
{
    const struct config_section *section = &config_sections[part->kind];

    for (size_t i = 0; i < section->key_count; i++) {
        if (section->keys[i].initial == NULL && part->lines[i] == 0)
            config_errors_add(&parts->errors, part->line, "listener %s: the key %s is missing",
                              parts->config->listeners[part->index].name, section->keys[i].name);
    }
}

static void resolve_pool(struct config_parts *parts, struct config_listener *listener,
                         const struct config_part *part)
{
    int line = config_part_line(part, "pool");

    if (line != 0 && !config_part_is_valid(part, "pool"))
        return;
    const struct config_part *pool = config_parts_find(parts, SECTION_POOL, listener->pool_name);
    if (pool == NULL) {
        config_errors_add(&parts->errors, line, "pool: there is no section [pool %s]",
                          listener->pool_name);
        return;
    }
    listener->pool = pool->index;
    if (listener->timeout == 0)
        listener->timeout = parts->config->pools[pool->index].limits.timeout;
}

/* Says why the choice is not the scheme's, or that there must be one. */
static void refuse_reuse(struct config_parts *parts, const struct config_listener *listener,
                         const struct config_part *part)
{
    int line = config_part_line(part, "reuse");
    const char *scheme = listener->upstream.scheme;

    if (listener->reuse == REUSE_UNSET)
        config_errors_add(
            &parts->errors, line != 0 ? line : part->line,
            "listener %s: reuse must be given, for the bytes of scheme %s carry no boundary: "
            "reuse = quiet (the connection is used again when the client ended first, in order, "
            "and the upstream had the last word) or reuse = never (each client gets a connection "
            "that nobody used before)",
            listener->name, scheme);
    else if (listener->reuse == REUSE_FRAMED)
        config_errors_add(&parts->errors, line,
                          "reuse: framed is for http and https, the bytes of scheme %s carry no "
                          "boundary: use quiet or never",
                          scheme);
    else
        config_errors_add(&parts->errors, line,
                          "reuse: quiet is for opaque schemes, scheme %s has message boundaries: "
                          "use framed or never",
                          scheme);
}

static void check_reuse(struct config_parts *parts, struct config_listener *listener,
                        const struct config_part *part)
{
    const struct scheme *scheme = endpoint_scheme(&listener->upstream);
    int line = config_part_line(part, "reuse");

    if (line != 0 && !config_part_is_valid(part, "reuse"))
        return;
    if (listener->reuse == REUSE_UNSET)
        listener->reuse = scheme->reuse_default;
    if ((scheme->reuse & REUSE_SET(listener->reuse)) == 0)
        refuse_reuse(parts, listener, part);
}

/* Keys that the upstream's scheme leaves without an effect. */
static void check_effect(struct config_parts *parts, const struct config_listener *listener,
                         const struct config_part *part)
{
    const struct config_section *section = &config_sections[part->kind];
    const struct scheme *scheme = endpoint_scheme(&listener->upstream);

    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        if (part->lines[i] != 0 && !config_key_suits(key, scheme))
            config_errors_add(&parts->errors, part->lines[i], "%s: has no effect on scheme %s",
                              key->name, listener->upstream.scheme);
    }
}

static void check_certificate(struct config_parts *parts, const struct config_listener *listener,
                              const struct config_part *part)
{
    bool cert = config_part_is_valid(part, "tls_cert_file") && *listener->tls_cert_file != '\0';
    bool key = config_part_is_valid(part, "tls_key_file") && *listener->tls_key_file != '\0';

    if (cert && !key)
        config_errors_add(&parts->errors, config_part_line(part, "tls_cert_file"),
                          "tls_cert_file: tls_key_file must be given as well");
    if (key && !cert)
        config_errors_add(&parts->errors, config_part_line(part, "tls_key_file"),
                          "tls_key_file: tls_cert_file must be given as well");
}

/* Where the upstream's scheme is not known, files that are given are taken to be for TLS. */
static bool takes_tls(const struct config_listener *listener, const struct config_part *part)
{
    const struct scheme *scheme = endpoint_scheme(&listener->upstream);
    if (scheme != NULL)
        return scheme->tls;
    return config_part_is_valid(part, "tls_ca_file") ||
           config_part_is_valid(part, "tls_cert_file") ||
           config_part_is_valid(part, "tls_key_file");
}

/* An upstream that is missing, or wrong, hides no mistake that can be found without it. */
static void check_upstream(struct config_parts *parts, struct config_listener *listener,
                           const struct config_part *part)
{
    if (endpoint_scheme(&listener->upstream) != NULL) {
        check_reuse(parts, listener, part);
        check_effect(parts, listener, part);
    }
    if (takes_tls(listener, part)) {
        check_certificate(parts, listener, part);
        config_tls_load(parts, part);
    }
}

/* Compares a listener's addresses with those of the listeners before it; its own were compared
 * with each other when they were parsed. */
static void check_addresses(struct config_parts *parts, const struct config_part *part)
{
    const struct config_listener *listeners = parts->config->listeners;
    const struct config_listener *mine = &listeners[part->index];

    for (size_t i = 0; i < part->index; i++) {
        for (size_t j = 0; j < listeners[i].address_count * mine->address_count; j++) {
            const struct config_address *a = &listeners[i].addresses[j / mine->address_count];
            const struct config_address *b = &mine->addresses[j % mine->address_count];
            if (listen_address_overlaps(&a->address, &b->address))
                config_errors_add(&parts->errors, b->line,
                                  "listen: %s is taken by listener %s in line %d (%s)",
                                  b->address.text, listeners[i].name, a->line, a->address.text);
        }
    }
}

/* Keys that need a unix socket to have an effect. */
static void check_unix(struct config_parts *parts, const struct config_listener *listener,
                       const struct config_part *part)
{
    const struct config_section *section = &config_sections[part->kind];

    if (!config_part_is_valid(part, "listen") || config_listener_is_unix(listener))
        return;
    for (size_t i = 0; i < section->key_count; i++) {
        if (part->lines[i] != 0 && section->keys[i].for_unix)
            config_errors_add(&parts->errors, part->lines[i],
                              "%s: has no effect without a unix:/path in listen",
                              section->keys[i].name);
    }
}

/* Whose a unix socket is to be. Names that do not exist were refused already. */
static void resolve_socket(const struct config *config, struct config_socket *socket)
{
    const char *name = socket->user;
    if ((name == NULL || *name == '\0') && geteuid() == 0) /* else it stays without an effect */
        name = config->user;
    const struct passwd *user = name != NULL && *name != '\0' ? getpwnam(name) : NULL;
    socket->file.uid = user != NULL ? user->pw_uid : SOCKET_FILE_OURS;
    socket->file.gid = user != NULL ? user->pw_gid : SOCKET_FILE_OURS;
    bool has_group = socket->group != NULL && *socket->group != '\0';
    const struct group *group = has_group ? getgrnam(socket->group) : NULL;
    if (group != NULL)
        socket->file.gid = group->gr_gid;
}

static void check_listener(struct config_parts *parts, const struct config_part *part)
{
    struct config_listener *listener = &parts->config->listeners[part->index];

    check_required(parts, part);
    resolve_pool(parts, listener, part);
    if (listener->response_timeout == CONFIG_TIME_UNSET)
        listener->response_timeout = listener->idle_timeout;
    check_upstream(parts, listener, part);
    check_addresses(parts, part);
    check_unix(parts, listener, part);
    resolve_socket(parts->config, &listener->socket);
}

static void note_lines(struct config *config, const struct config_part *part)
{
    config->log_line = config_part_line(part, "log");
    config->access_log_line = config_part_line(part, "access_log");
}

void config_check(struct config_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        const struct config_part *part = &parts->list[i];
        if (part->mistaken)
            continue;
        if (part->kind == SECTION_KAPROXY)
            note_lines(parts->config, part);
        else if (part->kind == SECTION_POOL)
            check_pool(parts, part);
        else if (part->kind == SECTION_LISTENER)
            check_listener(parts, part);
    }
    if (parts->config->listener_count == 0 && !parts->lost)
        config_errors_add(&parts->errors, 1, "no section [listener NAME]: there is nothing to do");
}
