/* SPDX-License-Identifier: ISC */
/* Prints what the program reads, for tests/integration/it_memcached_commands.py. Each line of input
 * is
 *
 *     command text|binary HEX
 *     reply text|binary HEX-OF-ITS-COMMAND HEX
 *
 * and is answered by a line of numbers:
 *
 *     1 LENGTH VALUE_LEFT REPLY TRAITS QUIET       2 CLOSE SWALLOW QUIET       0
 *     1 USED IS_ERROR SURE                         2                           0
 *
 * of which the first is an enum memcached_result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memcached/memcached.h"

struct bytes {
    char *data;
    size_t length;
};

static int hex_value(char c)
{
    return c >= 'a' ? c - 'a' + 10 : c - '0';
}

/* In place; in a block of exactly its size, so that sanitizers detect reads past the end. */
static struct bytes take_bytes(const char *hex)
{
    size_t length = hex ? strlen(hex) / 2 : 0;
    struct bytes bytes = {malloc(length > 0 ? length : 1), length};

    if (!bytes.data)
        exit(1);
    for (size_t i = 0; i < length; i++)
        bytes.data[i] = (char)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    return bytes;
}

static enum memcached_result parse(struct memcached_command *command, bool binary, const char *hex)
{
    struct bytes bytes = take_bytes(hex);
    enum memcached_result result;

    memcached_command_begin(command, binary);
    result = memcached_command_parse(command, bytes.data, bytes.length);
    free(bytes.data);
    return result;
}

static void say_command(bool binary, const char *hex)
{
    struct memcached_command command;
    enum memcached_result result = parse(&command, binary, hex);

    if (result == MEMCACHED_DONE)
        printf("1 %zu %llu %d %d %d\n", command.length, (unsigned long long)command.value_left,
               command.reply, command.traits, command.quiet);
    else if (result == MEMCACHED_BAD)
        printf("2 %d %llu %d\n", command.close, (unsigned long long)command.swallow, command.quiet);
    else
        puts("0");
}

static void say_reply(bool binary, const char *command_hex, const char *hex)
{
    struct bytes bytes = take_bytes(hex);
    struct memcached_command command;
    struct memcached_reply reply;
    size_t used;

    if (parse(&command, binary, command_hex) != MEMCACHED_DONE)
        exit(1);

    struct memcached_expect expect = memcached_command_expect(&command);

    memcached_reply_begin(&reply, &expect);
    enum memcached_result result = memcached_reply_feed(&reply, bytes.data, bytes.length, &used);

    if (result == MEMCACHED_DONE)
        printf("1 %zu %d %d\n", used, reply.is_error, reply.sure);
    else
        printf("%d\n", result);
    free(bytes.data);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, stdin) > 0) {
        const char *what = strtok(line, " \n"), *kind = strtok(NULL, " \n");
        bool binary = kind && strcmp(kind, "binary") == 0;
        const char *first = strtok(NULL, " \n"), *second = strtok(NULL, " \n");

        if (what && strcmp(what, "command") == 0)
            say_command(binary, first);
        else
            say_reply(binary, first, second);
        fflush(stdout);
    }
    free(line);
    return 0;
}
