/* SPDX-License-Identifier: ISC */
/* src/resp for tests in Python, by its first argument:
 *
 *   commands   prints the table: NAME, or CONTAINER|NAME; effect; flags in letters; tabs between.
 *              What may block only with an option has a second row, without it: NAME=.
 *   split      reads lines and composes each: prints the length and the bytes, or -1 and the error,
 *              with LF after both.
 *   parse      reads a command, prints the verdict, and the error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp/resp_commands.h"

static const char *effect_name(unsigned effect)
{
    static const char *const names[] = {
        [RESP_PLAIN] = "plain",
        [RESP_AUTH] = "auth",
        [RESP_HELLO] = "hello",
        [RESP_SELECT] = "select",
        [RESP_CLIENT_SETNAME] = "client_setname",
        [RESP_CLIENT_SETINFO] = "client_setinfo",
        [RESP_RESET] = "reset",
        [RESP_QUIT] = "quit",
        [RESP_MULTI] = "multi",
        [RESP_EXEC] = "exec",
        [RESP_DISCARD] = "discard",
        [RESP_WATCH] = "watch",
        [RESP_UNWATCH] = "unwatch",
        [RESP_TUNNEL] = "tunnel",
        [RESP_BLOCKS] = "blocks",
        [RESP_WAIT] = "wait",
        [RESP_CLOSE] = "close",
    };
    return names[effect];
}

static void print_row(const char *container, const char *between, const struct resp_known *known,
                      const char *name)
{
    printf("%s%s%s\t%s\t%s%s%s%s\n", container, between, name, effect_name(known->effect),
           known->flags & RESP_READ ? "r" : "", known->flags & RESP_WRITE ? "w" : "",
           known->flags & RESP_OF_CLIENT ? "c" : "", known->flags & RESP_WHOLE ? "a" : "");
}

static int print_commands(void)
{
    for (size_t letter = 0; letter < ARRAY_LEN(resp_letters); letter++)
        for (size_t i = 0; i < resp_letters[letter].count; i++) {
            const struct resp_known *known = &resp_letters[letter].list[i];

            print_row("", "", known, known->name);
            for (size_t k = 0; k < known->other_count; k++)
                if (known->effect == RESP_BLOCKS)
                    print_row(known->name, "=", &known->others[k], "");
                else
                    print_row(known->name, "|", &known->others[k], known->others[k].name);
        }
    return 0;
}

static int split_lines(void)
{
    static char out[RESP_INLINE_MAX];
    char *line = NULL;
    size_t size = 0;

    for (ssize_t length; (length = getline(&line, &size, stdin)) >= 0;) {
        const char *error = "";
        ssize_t composed = resp_inline_compose(out, sizeof(out), line, (size_t)length, &error);

        printf("%zd\n", composed);
        if (composed < 0)
            printf("%s", error);
        else
            fwrite(out, 1, (size_t)composed, stdout);
        putchar('\n');
    }
    free(line);
    return 0;
}

static int parse_command(void)
{
    static const char *const verdicts[] = {
        [RESP_DONE] = "done", [RESP_MORE] = "more", [RESP_BAD] = "bad"};
    static char data[65536];
    struct resp_command command;

    resp_command_begin(&command);
    puts(verdicts[resp_command_parse(&command, data, fread(data, 1, sizeof(data), stdin))]);
    puts(command.error);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";

    if (strcmp(what, "commands") == 0)
        return print_commands();
    if (strcmp(what, "split") == 0)
        return split_lines();
    if (strcmp(what, "parse") == 0)
        return parse_command();
    fprintf(stderr, "usage: %s commands|split|parse\n", argv[0]);
    return 2;
}
