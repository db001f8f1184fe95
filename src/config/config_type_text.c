/* SPDX-License-Identifier: ISC */
/* The types of values that are kept as text. */
#include "config/config_type.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/account.h"
#include "config/config.h"
#include "config/config_type_internal.h"
#include "net/endpoint.h"

#define WHITESPACE    " \t"
#define COMMAND_CHARS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:"

/* Texts: what they may contain differs, how they are stored does not. */

static int parse_text(struct config_input *input, void *field)
{
    char *text = strdup(input->text);
    if (text == NULL)
        return config_refuse(input, "out of memory");
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
        return config_refuse(input, "\"%s\" is not " LOG_WORDS, input->text);
    return parse_text(input, field);
}

static int parse_access_log(struct config_input *input, void *field)
{
    if (strcmp(input->text, "off") != 0 && !is_log(input->text))
        return config_refuse(input, "\"%s\" is not off, " LOG_WORDS, input->text);
    return parse_text(input, field);
}

/* A user or group that was not found, for the reason in errno. */
static int refuse_account(struct config_input *input, const char *what)
{
    if (errno == 0)
        return config_refuse(input, "there is no %s \"%s\" on this system", what, input->text);
    return config_refuse(input, "cannot look up the %s \"%s\": %s", what, input->text,
                         strerror(errno));
}

static int parse_path(struct config_input *input, void *field)
{
    size_t length = strlen(input->text);
    if (length > 0 && (input->text[0] != '/' || input->text[length - 1] == '/'))
        return config_refuse(input, "\"%s\" is not the absolute path of a file", input->text);
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
        return config_refuse(
            input,
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
            return config_refuse(input, "\"%s\" is not upstream, client, or addr or addr:port",
                                 input->text);
        if (strchr(endpoint.addr, '%') != NULL)
            return config_refuse(input, "\"%s\" has a scope, which means nothing to the upstream",
                                 input->text);
    }
    return parse_text(input, field);
}

static int parse_host_name(struct config_input *input, void *field)
{
    if (*input->text != '\0' && !endpoint_addr_is_valid(input->text))
        return config_refuse(input, "\"%s\" is neither a host name nor an IP address", input->text);
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
            return config_refuse(
                input, "\"%.*s\" is not the name of a command, or a prefix of names followed by *",
                (int)length, word);
        word += length;
    }
    return parse_text(input, field);
}

static int parse_tls_version(struct config_input *input, void *field)
{
    static const char *const words[] = {"1.2", "1.3", NULL};

    return config_find_word(input, words) < 0 ? -1 : parse_text(input, field);
}

const struct config_type config_type_text = {parse_text, format_text, clear_text};
const struct config_type config_type_path = {parse_path, format_text, clear_text};
const struct config_type config_type_log = {parse_log, format_text, clear_text};
const struct config_type config_type_access_log = {parse_access_log, format_text, clear_text};
const struct config_type config_type_user = {parse_user, format_text, clear_text};
const struct config_type config_type_group = {parse_group, format_text, clear_text};
const struct config_type config_type_resolver = {parse_resolver, format_text, clear_text};
const struct config_type config_type_host = {parse_host, format_text, clear_text};
const struct config_type config_type_commands = {parse_commands, format_text, clear_text};
const struct config_type config_type_host_name = {parse_host_name, format_text, clear_text};
const struct config_type config_type_tls_version = {parse_tls_version, format_text, clear_text};
