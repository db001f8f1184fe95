/* SPDX-License-Identifier: ISC */
/* The types of the values in kaproxy.ini. */
#ifndef KAPROXY_CONFIG_TYPE_H
#define KAPROXY_CONFIG_TYPE_H

#include "base/util.h"
#include "config/config_errors.h"
#include "config/config_key.h"

#define CONFIG_VALUE_MAX 512 /* any value as text, and the final NUL */
#define CONFIG_ERROR_MAX 512

/* A value on its way into a field. */
struct config_input {
    const struct config_key *key;
    const char *text;
    int line;
    struct config_errors *errors; /* borrowed; NULL for a default, which has no mistakes */
};

struct config_type {
    /* Parses into a field that is clear. 0, or -1 after every mistake in the text was added to the
     * errors; the field then has the valid elements of a list, and is clear otherwise. */
    int (*parse)(struct config_input *input, void *field);
    /* The value as text: in buffer, static, or in the field. */
    const char *(*format)(const void *field, char buffer[CONFIG_VALUE_MAX]);
    /* Frees what parse allocated; NULL: nothing. */
    void (*clear)(void *field);
};

/* Times are usec_t, counts are unsigned, texts are char * owned by the struct. */
extern const struct config_type config_type_count, config_type_time, config_type_bool,
    config_type_text, config_type_path, config_type_log, config_type_access_log,
    config_type_log_level, config_type_user, config_type_group, config_type_mode,
    config_type_resolver, config_type_forwarded, config_type_reuse, config_type_addresses,
    config_type_endpoint, config_type_bind_address, config_type_host, config_type_host_name,
    config_type_tls_version, config_type_tls_close_notify, config_type_own_time, config_type_on_off,
    config_type_abort, config_type_commands, config_type_log_format, config_type_admin_addresses,
    config_type_control;

/* The value of an own_time that is empty, so that another key's applies. */
#define CONFIG_TIME_UNSET ((usec_t)-1)

#endif
