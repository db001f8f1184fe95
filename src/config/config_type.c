/* SPDX-License-Identifier: ISC */
/* The types of values: parsing, formatting, and what is wrong with a value. */
#include "config/config_type.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/account.h"
#include "base/log.h"
#include "config/config.h"
#include "net/address.h"
#include "net/endpoint.h"
#include "net/listen_address.h"
#include "net/resolver.h"

#define WHITESPACE    " \t"
#define COMMAND_CHARS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:"

static PRINTF(2, 3) int refuse(const struct config_input *input, const char *format, ...)
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
        return refuse(input, "\"%s\" is not a whole number", input->text);
    if (number < (uint64_t)key->min || number > (uint64_t)key->max)
        return refuse(input, "%s is out of range, %" PRId64 " to %" PRId64 " are allowed",
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
        return refuse(input, "\"%s\" is not an octal number, such as 0660", text);
    unsigned long long mode = strtoull(text, NULL, 8);
    if (mode > (unsigned long long)key->max)
        return refuse(input, "%s is out of range, 0 to %04" PRIo64 " are allowed", text,
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
        return refuse(input,
                      "\"%s\" is not a time: a whole number of seconds, or with a unit: "
                      "500ms, 2s, 5m, 1h",
                      input->text);
    if (number > (uint64_t)(key->max * USEC_PER_SEC / unit->length) ||
        ((usec_t)number * unit->length < key->min * USEC_PER_SEC && !(number == 0 && key->or_zero)))
        return refuse(input, "%s is out of range, %s%" PRId64 " to %" PRId64 " seconds are allowed",
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

/* The index of a word in a NULL-terminated list; -1, and a mistake, if it is not there. */
static int find_word(struct config_input *input, const char *const *words)
{
    char list[100] = "";
    size_t length = 0;

    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], input->text) == 0)
            return i;
        const char *comma = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", comma, words[i]);
    }
    return refuse(input, "\"%s\" is not one of %s", input->text, list);
}

static const char *const bool_words[] = {"no", "yes", NULL};

static int parse_bool(struct config_input *input, void *field)
{
    int word = find_word(input, bool_words);
    if (word < 0)
        return -1;
    *(bool *)field = word == 1;
    return 0;
}

static const char *format_bool(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    (void)buffer;
    return bool_words[*(const bool *)field ? 1 : 0];
}

static const char *const on_off_words[] = {"off", "on", NULL};

static int parse_on_off(struct config_input *input, void *field)
{
    int word = find_word(input, on_off_words);
    if (word < 0)
        return -1;
    *(bool *)field = word == 1;
    return 0;
}

static const char *format_on_off(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    (void)buffer;
    return on_off_words[*(const bool *)field ? 1 : 0];
}

/* The functions of a type with NAME_words, indexed by an enumeration and NULL-terminated. */
#define WORD_TYPE(name, enumeration)                                                               \
    static int parse_##name(struct config_input *input, void *field)                               \
    {                                                                                              \
        int word = find_word(input, name##_words);                                                 \
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
    int word = *input->text == '\0' ? REUSE_UNSET : find_word(input, reuse_words);
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

/* Texts: what they may contain differs, how they are stored does not. */

static int parse_text(struct config_input *input, void *field)
{
    char *text = strdup(input->text);
    if (text == NULL)
        return refuse(input, "out of memory");
    *(char **)field = text;
    return 0;
}

static const char *format_text(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    (void)buffer;
    return *(char *const *)field;
}

static void clear_text(void *field)
{
    char **text = field;

    free(*text);
    *text = NULL;
}

/* A bare word would become a file of that name: `access_log = on`, `log = stdrr`. */
static bool is_file(const char *text)
{
    return strpbrk(text, "/.") != NULL;
}

static bool is_log(const char *text)
{
    return strcmp(text, "stderr") == 0 || strcmp(text, "stdout") == 0 ||
           strcmp(text, "syslog") == 0 || is_file(text);
}

#define LOG_WORDS "stderr, stdout, syslog or a file (with a '/' or '.' in it)"

static int parse_log(struct config_input *input, void *field)
{
    if (!is_log(input->text))
        return refuse(input, "\"%s\" is not " LOG_WORDS, input->text);
    return parse_text(input, field);
}

static int parse_access_log(struct config_input *input, void *field)
{
    if (strcmp(input->text, "off") != 0 && !is_log(input->text))
        return refuse(input, "\"%s\" is not off, " LOG_WORDS, input->text);
    return parse_text(input, field);
}

/* A user or group that was not found, for the reason in errno. */
static int refuse_account(struct config_input *input, const char *what)
{
    if (errno == 0)
        return refuse(input, "there is no %s \"%s\" on this system", what, input->text);
    return refuse(input, "cannot look up the %s \"%s\": %s", what, input->text, strerror(errno));
}

static int parse_path(struct config_input *input, void *field)
{
    size_t length = strlen(input->text);
    if (length > 0 && (input->text[0] != '/' || input->text[length - 1] == '/'))
        return refuse(input, "\"%s\" is not the absolute path of a file", input->text);
    return parse_text(input, field);
}

static int parse_group(struct config_input *input, void *field)
{
    gid_t gid;

    if (*input->text != '\0' && account_find_group(input->text, &gid) < 0)
        return refuse_account(input, "group");
    return parse_text(input, field);
}

static int parse_user(struct config_input *input, void *field)
{
    uid_t uid;
    gid_t gid;

    if (*input->text != '\0' && account_find_user(input->text, &uid, &gid) < 0)
        return refuse_account(input, "user");
    return parse_text(input, field);
}

static int parse_resolver(struct config_input *input, void *field)
{
    union address servers[RESOLVER_SERVERS_MAX];

    if (address_parse_list(servers, RESOLVER_SERVERS_MAX, input->text, 53) < 0)
        return refuse(input,
                      "\"%s\" is not a list of numeric addresses, each with or without a port, "
                      "such as 192.0.2.53 [2001:db8::53]:5353, at most %d of them",
                      input->text, RESOLVER_SERVERS_MAX);
    return parse_text(input, field);
}

static int parse_host(struct config_input *input, void *field)
{
    struct endpoint endpoint;
    char url[CONFIG_VALUE_MAX];
    const char *error;

    if (strcmp(input->text, "upstream") != 0 && strcmp(input->text, "client") != 0) {
        snprintf(url, sizeof(url), "http://%s", input->text);
        if (endpoint_parse(&endpoint, url, &error) < 0)
            return refuse(input, "\"%s\" is not upstream, client, or addr or addr:port",
                          input->text);
        if (strchr(endpoint.addr, '%') != NULL)
            return refuse(input, "\"%s\" has a scope, which means nothing to the upstream",
                          input->text);
    }
    return parse_text(input, field);
}

static int parse_host_name(struct config_input *input, void *field)
{
    if (*input->text != '\0' && !endpoint_addr_is_valid(input->text))
        return refuse(input, "\"%s\" is neither a host name nor an IP address", input->text);
    return parse_text(input, field);
}

static int parse_commands(struct config_input *input, void *field)
{
    static const char separators[] = WHITESPACE ",", chars[] = COMMAND_CHARS;
    const char *word = input->text;

    while (*(word += strspn(word, separators)) != '\0') {
        size_t length = strcspn(word, separators), plain = strspn(word, chars);
        bool is_beginning = plain + 1 == length && word[plain] == '*';
        if (plain != length && !is_beginning)
            return refuse(
                input, "\"%.*s\" is not the name of a command, or a prefix of names followed by *",
                (int)length, word);
        word += length;
    }
    return parse_text(input, field);
}

static int parse_tls_version(struct config_input *input, void *field)
{
    static const char *const words[] = {"1.2", "1.3", NULL};

    return find_word(input, words) < 0 ? -1 : parse_text(input, field);
}

static const char *const close_notify_words[] = {
    [false] = "optional",
    [true] = "required",
    NULL,
};

static int parse_tls_close_notify(struct config_input *input, void *field)
{
    int word = find_word(input, close_notify_words);
    if (word < 0)
        return -1;
    *(bool *)field = word;
    return 0;
}

static const char *format_tls_close_notify(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    (void)buffer;
    return close_notify_words[*(const bool *)field];
}

/* Addresses and endpoints. */

/* A password may precede an @, and a log has more readers than the file: that part is not shown. */
static int parse_endpoint(struct config_input *input, void *field)
{
    const char *error, *text = input->text, *mark = strstr(text, "://"), *at = strrchr(text, '@');
    if (endpoint_parse(field, text, &error) == 0)
        return 0;
    if (endpoint_parse_scheme(field, text) < 0) /* the other keys are checked against this */
        *(struct endpoint *)field = (struct endpoint){0};
    if (mark == NULL || at == NULL || at < mark)
        return refuse(input, "\"%s\": %s", text, error);
    return refuse(input, "\"%.*s://...%s\": %s", (int)(mark - text), text, at, error);
}

static const char *format_endpoint(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    static_assert(ENDPOINT_TEXT_MAX <= CONFIG_VALUE_MAX, "CONFIG_VALUE_MAX");
    return endpoint_format(field, buffer);
}

static int parse_bind_address(struct config_input *input, void *field)
{
    if (*input->text != '\0' && !address_parse(field, input->text))
        return refuse(input, "\"%s\" is not a numeric IPv4 or IPv6 address", input->text);
    if (address_is_mapped(field)) {
        *(union address *)field = (union address){0};
        return refuse(input, "\"%s\" is IPv4 written as IPv6: write the IPv4 address", input->text);
    }
    return 0;
}

static const char *format_bind_address(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    const union address *address = field;

    if (address->sa.sa_family == AF_UNSPEC)
        return "";
    static_assert(ADDRESS_SCOPED_MAX <= CONFIG_VALUE_MAX, "CONFIG_VALUE_MAX");
    return address_format_scoped(address, buffer);
}

static void clear_addresses(void *field)
{
    struct config_addresses *addresses = field;

    for (size_t i = 0; i < addresses->count; i++)
        listen_address_clear(&addresses->list[i].address);
    free(addresses->list);
    addresses->list = NULL;
    addresses->count = 0;
}

static int add_address(struct config_addresses *addresses, struct config_input *input,
                       const char *word, size_t length)
{
    struct listen_address address;
    const char *error;

    if (listen_address_parse(&address, word, length, &error) < 0)
        return refuse(input, "\"%.*s\": %s", (int)length, word, error);
    for (size_t i = 0; i < addresses->count; i++) {
        const struct listen_address *other = &addresses->list[i].address;
        if (listen_address_overlaps(other, &address)) {
            refuse(input, "%s and %s exclude each other", other->text, address.text);
            listen_address_clear(&address);
            return -1;
        }
    }
    struct config_address *grown =
        reallocarray(addresses->list, addresses->count + 1, sizeof(*grown));
    if (grown == NULL) {
        listen_address_clear(&address);
        return refuse(input, "out of memory");
    }
    addresses->list = grown;
    grown[addresses->count++] = (struct config_address){address, input->line};
    return 0;
}

static int parse_addresses(struct config_input *input, void *field)
{
    struct config_addresses *addresses = field;
    const char *word = input->text;
    int result = 0;

    while (*(word += strspn(word, WHITESPACE)) != '\0') {
        size_t length = strcspn(word, WHITESPACE);
        if (add_address(addresses, input, word, length) < 0)
            result = -1;
        word += length;
    }
    return result;
}

static const char *format_addresses(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    const struct config_addresses *addresses = field;
    size_t length = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < addresses->count && length < CONFIG_VALUE_MAX; i++)
        length += (size_t)snprintf(buffer + length, CONFIG_VALUE_MAX - length, "%s%s",
                                   i == 0 ? "" : " ", addresses->list[i].address.text);
    return buffer;
}

/* For [admin]: the same, or off. */
static int parse_admin_addresses(struct config_input *input, void *field)
{
    struct config_admin *admin = container_of(field, struct config_admin, addresses);

    admin->off = strcmp(input->text, "off") == 0;
    return admin->off ? 0 : parse_addresses(input, field);
}

static const char *format_admin_addresses(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    const struct config_addresses *addresses = field;
    return addresses->count == 0 ? "off" : format_addresses(field, buffer);
}

const struct config_type config_type_count = {parse_count, format_count, NULL};
const struct config_type config_type_time = {parse_time, format_time, NULL};
const struct config_type config_type_own_time = {parse_own_time, format_time, NULL};
const struct config_type config_type_bool = {parse_bool, format_bool, NULL};
const struct config_type config_type_on_off = {parse_on_off, format_on_off, NULL};
const struct config_type config_type_text = {parse_text, format_text, clear_text};
const struct config_type config_type_path = {parse_path, format_text, clear_text};
const struct config_type config_type_log = {parse_log, format_text, clear_text};
const struct config_type config_type_access_log = {parse_access_log, format_text, clear_text};
const struct config_type config_type_log_level = {parse_log_level, format_log_level, NULL};
const struct config_type config_type_user = {parse_user, format_text, clear_text};
const struct config_type config_type_group = {parse_group, format_text, clear_text};
const struct config_type config_type_mode = {parse_mode, format_mode, NULL};
const struct config_type config_type_resolver = {parse_resolver, format_text, clear_text};
const struct config_type config_type_log_format = {parse_log_format, format_log_format, NULL};
const struct config_type config_type_forwarded = {parse_forwarded, format_forwarded, NULL};
const struct config_type config_type_abort = {parse_abort, format_abort, NULL};
const struct config_type config_type_reuse = {parse_reuse, format_reuse, NULL};
const struct config_type config_type_addresses = {parse_addresses, format_addresses,
                                                  clear_addresses};
const struct config_type config_type_admin_addresses = {parse_admin_addresses,
                                                        format_admin_addresses, clear_addresses};
const struct config_type config_type_control = {parse_control, format_control, NULL};
const struct config_type config_type_endpoint = {parse_endpoint, format_endpoint, NULL};
const struct config_type config_type_bind_address = {parse_bind_address, format_bind_address, NULL};
const struct config_type config_type_host = {parse_host, format_text, clear_text};
const struct config_type config_type_commands = {parse_commands, format_text, clear_text};
const struct config_type config_type_host_name = {parse_host_name, format_text, clear_text};
const struct config_type config_type_tls_version = {parse_tls_version, format_text, clear_text};
const struct config_type config_type_tls_close_notify = {parse_tls_close_notify,
                                                         format_tls_close_notify, NULL};
