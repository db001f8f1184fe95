/* SPDX-License-Identifier: ISC */
/* Loads a configuration from a text. */
#include "support/ini_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The line begins after the file's name: "LINE: text". */
static bool is_warning(const char *line)
{
    static const char mark[] = ": warning: ";
    return strncmp(line + strspn(line, "0123456789"), mark, sizeof(mark) - 1) == 0;
}

struct config *ini_load_bytes(const char *bytes, size_t length, char **said)
{
    char name[] = "test_config.XXXXXX";
    size_t size, prefix = sizeof(name) - 1;
    char *text;
    bool mistaken = false;
    int fd = mkstemp(name);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, bytes, length), (ssize_t)length);
    close(fd);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    struct config *config = config_load(name, out);
    fclose(out);
    unlink(name);
    if (config != NULL)
        assert_string_equal(config->file, name);
    *said = calloc(1, size + 1);
    assert_non_null(*said);
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_memory_equal(line, name, prefix);
        assert_int_equal(line[prefix], ':');
        strncat(*said, line + prefix + 1, (size_t)(end - line) - prefix);
        mistaken |= !is_warning(line + prefix + 1);
    }
    assert_int_equal(config == NULL, mistaken);
    free(text);
    return config;
}

struct config *ini_load_warned(const char *text, const char *expected)
{
    char *said;
    struct config *config = ini_load_bytes(text, strlen(text), &said);

    assert_string_equal(said, expected);
    assert_non_null(config);
    free(said);
    return config;
}

struct config *ini_load(const char *text)
{
    return ini_load_warned(text, "");
}

char *ini_print(const struct config *config)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    config_print(config, out);
    fclose(out);
    return text;
}

void assert_mistakes(const char *text, const char *expected)
{
    char *said;
    struct config *config = ini_load_bytes(text, strlen(text), &said);

    assert_string_equal(said, expected);
    assert_null(config);
    free(said);
}

void assert_mistake(const char *text, int line, const char *words)
{
    char *said, start[20];
    struct config *config = ini_load_bytes(text, strlen(text), &said);

    assert_null(config);
    snprintf(start, sizeof(start), "%d: ", line);
    if (strncmp(said, start, strlen(start)) != 0 || strstr(said, words) == NULL ||
        strchr(said, '\n') != said + strlen(said) - 1)
        fail_msg("not just \"%s...%s\":\n%s", start, words, said);
    free(said);
}
