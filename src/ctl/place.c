/* SPDX-License-Identifier: ISC */
/* The configuration is not loaded, but searched for one key: it may have mistakes, or name
 * certificates that are for kaproxy's eyes only. */
#include "ctl/place.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "config/config_ini.h"
#include "config/config_place.h"

#define WHITESPACE " \t"

static int parse(struct listen_address *place, const char *text, size_t length, const char *from,
                 char error[PLACE_ERROR_MAX])
{
    const char *why;
    char unix_text[512];
    if (length > 0 && *text == '/' && length < sizeof(unix_text) - sizeof("unix:")) {
        length = (size_t)snprintf(unix_text, sizeof(unix_text), "unix:%.*s", (int)length, text);
        text = unix_text;
    }
    if (listen_address_parse(place, text, length, &why) == 0)
        return 0;
    snprintf(error, PLACE_ERROR_MAX, "%s: \"%.*s\": %s", from, length < 200 ? (int)length : 200,
             text, why);
    return -1;
}

/* Of several the unix socket: it is the one that may change things. */
static int take_words(struct listen_address *place, const char *words, const char *file,
                      char error[PLACE_ERROR_MAX])
{
    const char *word = words + strspn(words, WHITESPACE), *best = word;
    for (; *word != '\0'; word += strspn(word, WHITESPACE)) {
        if (strncmp(word, "unix:", 5) == 0) {
            best = word;
            break;
        }
        word += strcspn(word, WHITESPACE);
    }
    return parse(place, best, strcspn(best, WHITESPACE), file, error);
}

/* The value of [admin] listen; "" where it is not set. */
static void find_listen(FILE *stream, char value[CONFIG_INI_LINE_MAX + 1])
{
    struct config_ini_line parsed;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    bool inside = false;
    value[0] = '\0';
    while ((length = getline(&line, &size, stream)) >= 0) {
        config_ini_parse(&parsed, line, (size_t)length);
        if (parsed.kind == INI_SECTION)
            inside = strcmp(parsed.name, "admin") == 0;
        else if (parsed.kind == INI_KEY && inside && strcmp(parsed.name, "listen") == 0)
            snprintf(value, CONFIG_INI_LINE_MAX + 1, "%s", parsed.value);
    }
    free(line);
}

/* 1: found, 0: the file does not say, -1: error. */
static int from_file(struct listen_address *place, const char *file, char error[PLACE_ERROR_MAX])
{
    char value[CONFIG_INI_LINE_MAX + 1];
    FILE *stream = fopen(file, "re");
    if (stream == NULL) {
        snprintf(error, PLACE_ERROR_MAX, "cannot read %s: %s", file, strerror(errno));
        return -1;
    }
    find_listen(stream, value);
    bool failed = ferror(stream) != 0;
    fclose(stream);
    if (failed) {
        snprintf(error, PLACE_ERROR_MAX, "cannot read %s", file);
        return -1;
    }
    if (strcmp(value, "off") == 0) {
        snprintf(error, PLACE_ERROR_MAX, "%s has [admin] listen = off: kaproxy cannot be asked",
                 file);
        return -1;
    }
    if (*value == '\0')
        return 0;
    return take_words(place, value, file, error) == 0 ? 1 : -1;
}

/* The same of the default file, if there is one for us to read. */
static int from_default_file(struct listen_address *place, char error[PLACE_ERROR_MAX])
{
    const char *file = config_place_find();
    return access(file, R_OK) < 0 ? 0 : from_file(place, file, error);
}

static const char *runtime_directory(void)
{
    const char *folder = getenv("RUNTIME_DIRECTORY");
    return folder != NULL && *folder == '/' ? folder : NULL;
}

static int by_default(struct listen_address *place, char error[PLACE_ERROR_MAX])
{
    const char *folder = runtime_directory();
    char text[512];
    bool is_set = folder != NULL;
    /* systemd separates several by colons. */
    int length = is_set ? (int)strcspn(folder, ":") : 0;
    if (length > 400)
        length = 400; /* no socket's path is as long */
    snprintf(text, sizeof(text), "unix:%.*s/admin.sock", is_set ? length : 12,
             is_set ? folder : "/run/kaproxy");
    return parse(place, text, strlen(text), "RUNTIME_DIRECTORY", error);
}

int place_find(struct listen_address *place, const struct place_options *options,
               char error[PLACE_ERROR_MAX])
{
    const char *environment = getenv("KAPROXY_ADMIN");
    if (options->socket != NULL)
        return parse(place, options->socket, strlen(options->socket), "--socket", error);
    if (environment != NULL && *environment != '\0')
        return parse(place, environment, strlen(environment), "KAPROXY_ADMIN", error);
    int found = 0;
    if (options->file != NULL)
        found = from_file(place, options->file, error);
    else if (runtime_directory() == NULL)
        found = from_default_file(place, error);
    if (found != 0)
        return found > 0 ? 0 : -1;
    return by_default(place, error);
}
