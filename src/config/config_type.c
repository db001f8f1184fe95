/* SPDX-License-Identifier: ISC */
/* The types of values: numbers and words, and what they share with the others. */
#include "config/config_type.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/config.h"
#include "config/config_type_internal.h"

int config_refuse(const struct config_input *input, const char *format, ...)
{
    char mistake[CONFIG_ERROR_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(mistake, sizeof(mistake), format, args);
    va_end(args);
    if (input->errors != NULL)
        config_errors_add(input->errors, input->line, "%s: %s", input->key->name, mistake);
    return -1;
}

/* Numbers: a count, or a time with its unit. */

/* Reads the digits at the start of a text; false if there are none. A number that is too large
 * becomes UINT64_MAX, which every range excludes. */
static bool read_digits(const char *text, uint64_t *number, const char **end)
{
    char *after;

    if (*text < '0' || *text > '9')
        return false;
    *number = strtoull(text, &after, 10);
    *end = after;
    return true;
}

/* For a 0 that means the default, which is not 0 itself. */
static int parse_default(struct config_input *input, void *field)
{
    input->text = input->key->initial;
    return input->key->type->parse(input, field);
}

static int parse_count(struct config_input *input, void *field)
{
    const struct config_key *key = input->key;
    uint64_t number;
    const char *end;

    if (!read_digits(input->text, &number, &end) || *end != '\0')
        return config_refuse(input, "\"%s\" is not a whole number", input->text);
    if (number < (uint64_t)key->min || number > (uint64_t)key->max)
        return config_refuse(input, "%s is out of range, %" PRId64 " to %" PRId64 " are allowed",
                             input->text, key->min, key->max);
    if (number == 0 && key->zero_is_default)
        return parse_default(input, field);
    *(unsigned *)field = (unsigned)number;
    return 0;
}

static const char *format_count(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    snprintf(buffer, CONFIG_VALUE_MAX, "%u", *(const unsigned *)field);
    return buffer;
}

/* In chmod(1)'s notation. */
static int parse_mode(struct config_input *input, void *field)
{
    const struct config_key *key = input->key;
    const char *text = input->text;

    if (*text == '\0' || text[strspn(text, "01234567")] != '\0')
        return config_refuse(input, "\"%s\" is not an octal number, such as 0660", text);
    unsigned long long mode = strtoull(text, NULL, 8);
    if (mode > (unsigned long long)key->max)
        return config_refuse(input, "%s is out of range, 0 to %04" PRIo64 " are allowed", text,
                             (uint64_t)key->max);
    *(unsigned *)field = (unsigned)mode;
    return 0;
}

static const char *format_mode(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    snprintf(buffer, CONFIG_VALUE_MAX, "%04o", *(const unsigned *)field);
    return buffer;
}

struct unit {
    const char *name;
    usec_t length;
};

static const struct unit units[] = {
    {"ms", USEC_PER_MSEC},    {"", USEC_PER_SEC},         {"s", USEC_PER_SEC},
    {"m", 60 * USEC_PER_SEC}, {"h", 3600 * USEC_PER_SEC},
};

static const struct unit *find_unit(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(units[i].name, name) == 0)
            return &units[i];
    }
    return NULL;
}

static int parse_time(struct config_input *input, void *field)
{
    const struct config_key *key = input->key;
    const struct unit *unit = NULL;
    uint64_t number;
    const char *end;

    if (*input->text == '\0') /* allowed if the default is empty */
        return 0;
    if (read_digits(input->text, &number, &end))
        unit = find_unit(end);
    if (unit == NULL)
        return config_refuse(input,
                             "\"%s\" is not a time: a whole number of seconds, or with a unit: "
                             "500ms, 2s, 5m, 1h",
                             input->text);
    if (number > (uint64_t)(key->max * USEC_PER_SEC / unit->length) ||
        ((usec_t)number * unit->length < key->min * USEC_PER_SEC && !(number == 0 && key->or_zero)))
        return config_refuse(input,
                             "%s is out of range, %s%" PRId64 " to %" PRId64 " seconds are allowed",
                             input->text, key->or_zero ? "0 or " : "", key->min, key->max);
    if (number == 0 && key->zero_is_default)
        return parse_default(input, field);
    *(usec_t *)field = (usec_t)number * unit->length;
    return 0;
}

/* A time for which 0 is a value, and empty means none. */
static int parse_own_time(struct config_input *input, void *field)
{
    if (*input->text != '\0')
        return parse_time(input, field);
    *(usec_t *)field = CONFIG_TIME_UNSET;
    return 0;
}

static const char *format_time(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    usec_t time = *(const usec_t *)field;

    if (time % USEC_PER_SEC == 0)
        snprintf(buffer, CONFIG_VALUE_MAX, "%" PRId64, time / USEC_PER_SEC);
    else
        snprintf(buffer, CONFIG_VALUE_MAX, "%" PRId64 "ms", time / USEC_PER_MSEC);
    return buffer;
}

/* Words: one of a list. */

int config_find_word(struct config_input *input, const char *const *words)
{
    char list[100] = "";
    size_t length = 0;

    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], input->text) == 0)
            return i;
        const char *comma = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", comma, words[i]);
    }
    return config_refuse(input, "\"%s\" is not one of %s", input->text, list);
}

/* The functions of a type with NAME_words, indexed by an enumeration and NULL-terminated. */
#define WORD_TYPE(name, enumeration)                                                               \
    static int parse_##name(struct config_input *input, void *field)                               \
    {                                                                                              \
        int word = config_find_word(input, name##_words);                                          \
        if (word < 0)                                                                              \
            return -1;                                                                             \
        *(enumeration *)field = (enumeration)word;                                                 \
        return 0;                                                                                  \
    }                                                                                              \
    static const char *format_##name(const void *field, char buffer[CONFIG_VALUE_MAX])             \
    {                                                                                              \
        (void)buffer;                                                                              \
        return name##_words[*(const enumeration *)field];                                          \
    }

static const char *const bool_words[] = {[false] = "no", [true] = "yes", NULL};

WORD_TYPE(bool, bool)

static const char *const on_off_words[] = {[false] = "off", [true] = "on", NULL};

WORD_TYPE(on_off, bool)

static const char *const tls_close_notify_words[] = {
    [false] = "optional",
    [true] = "required",
    NULL,
};

WORD_TYPE(tls_close_notify, bool)

static const char *const log_level_words[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",     [LOG_LEVEL_DEBUG + 1] = NULL,
};

WORD_TYPE(log_level, enum log_level)

static const char *const forwarded_words[] = {
    [HTTP1_FORWARDED_OFF] = "off",
    [HTTP1_FORWARDED_X] = "x-forwarded-for",
    [HTTP1_FORWARDED_RFC7239] = "forwarded",
    NULL,
};

WORD_TYPE(forwarded, enum http1_forwarded)

static const char *const log_format_words[] = {
    [LOG_FORMAT_LOGFMT] = "logfmt",
    [LOG_FORMAT_JSON] = "json",
    NULL,
};

WORD_TYPE(log_format, enum log_format)

static const char *const control_words[] = {
    [CONTROL_UNIX] = "unix",
    [CONTROL_ALL] = "all",
    [CONTROL_NONE] = "none",
    NULL,
};

WORD_TYPE(control, enum config_control)

static const char *const abort_words[] = {
    [ABORT_QUEUED] = "queued",
    [ABORT_ALWAYS] = "always",
    [ABORT_NEVER] = "never",
    NULL,
};

WORD_TYPE(abort, enum config_abort)

static const char *const reuse_words[] = {
    [REUSE_FRAMED] = "framed",
    [REUSE_QUIET] = "quiet",
    [REUSE_NEVER] = "never",
    [REUSE_UNSET] = NULL,
};

static int parse_reuse(struct config_input *input, void *field)
{
    int word = *input->text == '\0' ? REUSE_UNSET : config_find_word(input, reuse_words);
    if (word < 0)
        return -1;
    *(enum reuse *)field = (enum reuse)word;
    return 0;
}

static const char *format_reuse(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    enum reuse reuse = *(const enum reuse *)field;

    (void)buffer;
    return reuse == REUSE_UNSET ? "" : reuse_words[reuse];
}

const struct config_type config_type_count = {parse_count, format_count, NULL};
const struct config_type config_type_time = {parse_time, format_time, NULL};
const struct config_type config_type_own_time = {parse_own_time, format_time, NULL};
const struct config_type config_type_bool = {parse_bool, format_bool, NULL};
const struct config_type config_type_on_off = {parse_on_off, format_on_off, NULL};
const struct config_type config_type_log_level = {parse_log_level, format_log_level, NULL};
const struct config_type config_type_mode = {parse_mode, format_mode, NULL};
const struct config_type config_type_log_format = {parse_log_format, format_log_format, NULL};
const struct config_type config_type_forwarded = {parse_forwarded, format_forwarded, NULL};
const struct config_type config_type_abort = {parse_abort, format_abort, NULL};
const struct config_type config_type_reuse = {parse_reuse, format_reuse, NULL};
const struct config_type config_type_control = {parse_control, format_control, NULL};
const struct config_type config_type_tls_close_notify = {parse_tls_close_notify,
                                                         format_tls_close_notify, NULL};
