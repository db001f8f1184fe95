/* SPDX-License-Identifier: ISC */
#include "ctl/ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "ctl/exits.h"
#include "ctl/figures.h"
#include "ctl/text.h"

void ask_complain(const char *sentence)
{
    char *clean = text_clean(sentence);
    fprintf(stderr, "kaproxyctl: %s\n", clean);
    free(clean);
}

/* The error in the answer's body, as JSON or as plain text. */
static void keep_error(struct answer *answer, const json_t *value)
{
    const char *text = figure_text(value, "error");
    const char *body = buffer_data(&answer->body);
    size_t length = buffer_length(&answer->body);
    while (length > 0 && (body[length - 1] == '\n' || body[length - 1] == '\r'))
        length--;
    if (*text == '\0')
        text = figure_text(value, "text");
    if (*text != '\0')
        snprintf(answer->error, sizeof(answer->error), "%s", text);
    else if (value == NULL && length > 0 && length < 400 && *body != '<')
        snprintf(answer->error, sizeof(answer->error), "%.*s", (int)length, body);
    else
        snprintf(answer->error, sizeof(answer->error), "kaproxy answered with status %u",
                 answer->status);
}

int ask(const struct client *client, const char *method, const char *target, json_t **value,
        struct answer *answer)
{
    json_error_t why;
    *value = NULL;
    if (client_ask(client, method, target, "application/json", answer) < 0)
        return EXIT_UNREACHABLE;
    size_t length = buffer_length(&answer->body);
    *value = json_loadb(length == 0 ? "" : buffer_data(&answer->body), length, 0, &why);
    int result = EXIT_DONE;
    if (answer->status < 200 || answer->status > 299) {
        keep_error(answer, *value);
        result = EXIT_REFUSED;
    } else if (!json_is_object(*value)) {
        snprintf(answer->error, sizeof(answer->error),
                 "what answers at %s is not kaproxy's admin server: its answer is not JSON%s%s",
                 client->place.text, *value == NULL ? ": " : "", *value == NULL ? why.text : "");
        json_decref(*value);
        *value = NULL;
        result = EXIT_UNREACHABLE;
    }
    buffer_clear(&answer->body);
    return result;
}

int ask_status(const struct client *client, const char *target, json_t **value)
{
    struct answer answer;
    int result = ask(client, "GET", target, value, &answer);
    if (result == EXIT_DONE)
        return result;
    ask_complain(answer.error);
    json_decref(*value);
    *value = NULL;
    return result;
}

/* ASCII only: beyond it there are characters that a terminal takes for a command. */
int ask_print(const json_t *value)
{
    if (value == NULL) {
        ask_complain("the answer does not have what was asked for");
        return EXIT_UNREACHABLE;
    }
    if (json_dumpf(value, stdout,
                   JSON_INDENT(2) | JSON_REAL_PRECISION(16) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII) <
        0)
        return EXIT_UNREACHABLE;
    putchar('\n');
    return EXIT_DONE;
}
