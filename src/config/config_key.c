/* SPDX-License-Identifier: ISC */
/* The table of all keys: type, field, default, range, and the schemes they affect. */
#include "config/config_key.h"

#include <assert.h>
#include <string.h>

#include "config/config.h"
#include "config/config_type.h"
#include "net/scheme.h"

#define MANY 1000000  /* connections, clients, allocations */
#define YEAR 31536000 /* seconds */

#define HTTP      KEY_FOR(PROTOCOL_HTTP)
#define REDIS     KEY_FOR(PROTOCOL_REDIS)
#define MEMCACHED KEY_FOR(PROTOCOL_MEMCACHED)
#define FRAMED    (HTTP | REDIS | MEMCACHED)

/* A key of SECTION, the struct that holds it. */
#define KEY(key, what, member, text, ...)                                                          \
    {                                                                                              \
        .name = key, .type = &config_type_##what, .offset = offsetof(SECTION, member),             \
        .initial = text, ##__VA_ARGS__                                                             \
    }

#define SECTION struct config
static const struct config_key kaproxy_keys[] = {
    KEY("log", log, log, "stderr"),
    KEY("log_level", log_level, log_level, "notice"),
    KEY("access_log", access_log, access_log, "off"),
    KEY("log_format", log_format, log_format, "logfmt"),
    KEY("max_clients", count, max_clients, "4096", .min = 1, .max = MANY),
    KEY("shutdown_timeout", time, shutdown_timeout, "30", .max = YEAR),
    KEY("user", user, user, "", .fixed = true),
    KEY("pid_file", path, pid_file, "", .fixed = true),
    KEY("resolver", resolver, resolver, ""),
};
#undef SECTION

#define SECTION struct config_admin
static const struct config_key admin_keys[] = {
    KEY("listen", admin_addresses, addresses, ""),
    KEY("control", control, control, "unix"),
    KEY("socket_mode", mode, socket.file.mode, "0600", .max = 0777, .for_unix = true),
    KEY("socket_user", user, socket.user, "", .for_unix = true),
    KEY("socket_group", group, socket.group, "", .for_unix = true),
};
#undef SECTION

#define SECTION struct config_pool
static const struct config_key pool_keys[] = {
    KEY("max_per_host", count, limits.max_per_host, "4", .max = MANY, .zero_is_default = true),
    KEY("max_open", count, limits.max_open, "128", .max = MANY, .zero_is_default = true),
    KEY("keep_alive", time, limits.keep_alive, "15", .max = YEAR, .zero_is_default = true),
    KEY("timeout", time, limits.timeout, "120", .max = YEAR, .zero_is_default = true),
    KEY("connect_timeout", time, limits.connect_timeout, "10", .max = YEAR),
    KEY("connect_retries", count, limits.connect_retries, "0", .max = MANY),
    KEY("fail_after", count, limits.fail_after, "0", .max = MANY),
    KEY("unacked_timeout", time, limits.unacked_timeout, "10", .min = 1, .max = YEAR,
        .or_zero = true),
    KEY("max_connecting", count, limits.max_connecting, "0", .max = MANY),
    KEY("max_waiting", count, limits.max_waiting, "1024", .max = MANY),
    KEY("max_age", time, limits.max_age, "0", .max = YEAR),
    KEY("max_uses", count, limits.max_uses, "0", .max = 1000 * MANY),
    KEY("max_tunnels", count, limits.max_tunnels, "64", .max = MANY),
    KEY("min_idle", count, limits.min_idle, "0", .max = MANY),
    KEY("bind_address", bind_address, limits.bind_address, ""),
};
#undef SECTION

#define SECTION struct config_listener
static const struct config_key listener_keys[] = {
    KEY("listen", addresses, addresses, NULL),
    KEY("socket_mode", mode, socket.file.mode, "0660", .max = 0777, .for_unix = true),
    KEY("socket_user", user, socket.user, "", .for_unix = true),
    KEY("socket_group", group, socket.group, "", .for_unix = true),
    KEY("upstream", endpoint, upstream, NULL),
    KEY("pool", text, pool_name, ""),
    KEY("timeout", time, timeout, "", .max = YEAR, .zero_is_default = true),
    KEY("reuse", reuse, reuse, ""),
    KEY("idle_timeout", time, idle_timeout, "300", .max = YEAR),
    KEY("response_timeout", own_time, response_timeout, "", .max = YEAR, .protocols = FRAMED),
    KEY("header_timeout", time, header_timeout, "30", .max = YEAR, .protocols = HTTP),
    KEY("client_keep_alive", time, client_keep_alive, "60", .max = YEAR, .protocols = HTTP),
    KEY("affinity_timeout", time, affinity_timeout, "60", .max = YEAR, .protocols = HTTP | REDIS),
    KEY("request_buffering", on_off, request_buffering, "on", .protocols = HTTP),
    KEY("abort_on_close", abort, abort_on_close, "queued", .protocols = HTTP),
    KEY("forwarded", forwarded, forwarded, "off", .protocols = HTTP),
    KEY("host", host, host, "upstream", .protocols = HTTP),
    KEY("stateless_commands", commands, stateless_commands, "", .protocols = REDIS),
    KEY("tls_ca_file", text, tls_ca_file, "", .for_tls = true),
    KEY("tls_verify", bool, tls_verify, "yes", .for_tls = true),
    KEY("tls_server_name", host_name, tls_server_name, "", .for_tls = true),
    KEY("tls_cert_file", text, tls_cert_file, "", .for_tls = true),
    KEY("tls_key_file", text, tls_key_file, "", .for_tls = true),
    KEY("tls_min_version", tls_version, tls_min_version, "1.2", .for_tls = true),
    KEY("tls_close_notify", tls_close_notify, tls_close_notify, "required", .for_tls = true),
};
#undef SECTION

static_assert(ARRAY_LEN(kaproxy_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX");
static_assert(ARRAY_LEN(admin_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX");
static_assert(ARRAY_LEN(pool_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX");
static_assert(ARRAY_LEN(listener_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX");

const struct config_section_kind config_section_kinds[CONFIG_KIND_COUNT] = {
    [SECTION_KAPROXY] = {"kaproxy", false, kaproxy_keys, ARRAY_LEN(kaproxy_keys)},
    [SECTION_ADMIN] = {"admin", false, admin_keys, ARRAY_LEN(admin_keys)},
    [SECTION_POOL] = {"pool", true, pool_keys, ARRAY_LEN(pool_keys)},
    [SECTION_LISTENER] = {"listener", true, listener_keys, ARRAY_LEN(listener_keys)},
};

bool config_key_suits(const struct config_key *key, const struct scheme *scheme)
{
    return (scheme->tls || !key->for_tls) &&
           (key->protocols == 0 || (key->protocols & KEY_FOR(scheme->protocol)) != 0);
}

int config_key_find(const struct config_section_kind *section, const char *name)
{
    for (size_t i = 0; i < section->key_count; i++) {
        if (strcmp(section->keys[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}
