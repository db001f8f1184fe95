/* SPDX-License-Identifier: ISC */
#include "ctl/show.h"

#include <stdio.h>
#include <stdlib.h>

#include "ctl/ask.h"
#include "ctl/exits.h"
#include "ctl/figures.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/views.h"

static bool has(const json_t *status, const char *severity)
{
    const json_t *problems = json_object_get(status, "problems");
    for (size_t i = 0; i < json_array_size(problems); i++) {
        if (strcmp(figure_text(json_array_get(problems, i), "severity"), severity) == 0)
            return true;
    }
    return false;
}

int show_status(const struct client *client, const struct options *options)
{
    json_t *status;
    struct look look = terminal_look();
    int result = ask_status(client, ASK_STATUS, &status);
    if (result != EXIT_DONE)
        return result;
    if ((options->given & OPTION_JSON) != 0) {
        result = ask_print(status);
    } else {
        look.width = 0; /* sentences are shown in full: the terminal wraps them */
        view_problems(stdout, status, &look, SIZE_MAX);
        putchar('\n');
        view_summary(stdout, status, &look);
    }
    if (result == EXIT_DONE && (options->given & OPTION_CHECK) != 0)
        result = has(status, "critical")  ? EXIT_REFUSED
                 : has(status, "warning") ? EXIT_USAGE
                                          : EXIT_DONE;
    json_decref(status);
    return result;
}

static void print_names(const json_t *list, const char *member)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *clean = text_clean(figure_text(json_array_get(list, i), member));
        puts(clean);
        free(clean);
    }
}

/* A list of /status; `member` is the name of each in it. */
static int show_list(const struct client *client, const struct options *options, const char *list,
                     const char *member,
                     void (*view)(FILE *, const json_t *, const struct look *,
                                  const struct view_order *))
{
    json_t *status;
    struct look look = terminal_look();
    int result = ask_status(client, ASK_STATUS, &status);
    if (result != EXIT_DONE)
        return result;
    if ((options->given & OPTION_NAMES) != 0)
        print_names(json_object_get(status, list), member);
    else if ((options->given & OPTION_JSON) != 0)
        result = ask_print(json_object_get(status, list));
    else
        view(stdout, status, &look, options->sort);
    json_decref(status);
    return result;
}

static void pools(FILE *out, const json_t *status, const struct look *look,
                  const struct view_order *order)
{
    (void)order;
    view_pools(out, status, look);
}

int show_pools(const struct client *client, const struct options *options)
{
    return show_list(client, options, "pools", "name", pools);
}

static void listeners(FILE *out, const json_t *status, const struct look *look,
                      const struct view_order *order)
{
    (void)order;
    view_listeners(out, status, look);
}

int show_listeners(const struct client *client, const struct options *options)
{
    return show_list(client, options, "listeners", "name", listeners);
}

int show_hosts(const struct client *client, const struct options *options)
{
    return show_list(client, options, "hosts", "upstream", view_hosts);
}

int show_sessions(const struct client *client, const struct options *options)
{
    json_t *status;
    struct look look = terminal_look();
    int result = ask_status(client, ASK_SESSIONS, &status);
    if (result != EXIT_DONE)
        return result;
    if ((options->given & OPTION_JSON) != 0) {
        json_t *part = json_pack("{s:O?, s:O?}", "sessions", json_object_get(status, "sessions"),
                                 "sessions_left_out", json_object_get(status, "sessions_left_out"));
        if (part == NULL)
            text_no_memory();
        result = ask_print(part);
        json_decref(part);
    } else {
        view_sessions(stdout, status, &look, options->sort);
    }
    json_decref(status);
    return result;
}

int show_metrics(const struct client *client, const struct options *options)
{
    struct answer answer;
    int result = EXIT_DONE;
    (void)options;
    if (client_ask(client, "GET", "/metrics", "text/plain", &answer) < 0) {
        ask_complain(answer.error);
        return EXIT_UNREACHABLE;
    }
    if (answer.status == 200) {
        fwrite(buffer_data(&answer.body), 1, buffer_length(&answer.body), stdout);
    } else {
        snprintf(answer.error, sizeof(answer.error), "kaproxy answered /metrics with status %u",
                 answer.status);
        ask_complain(answer.error);
        result = EXIT_REFUSED;
    }
    buffer_clear(&answer.body);
    return result;
}

int show_probe(const struct client *client, const struct options *options)
{
    struct answer answer;
    json_t *value;
    char target[16];
    snprintf(target, sizeof(target), "/%s", options->verb->name);
    int result = ask(client, "GET", target, &value, &answer);
    if (result != EXIT_DONE)
        ask_complain(answer.error);
    else if ((options->given & OPTION_JSON) != 0)
        result = ask_print(value);
    else
        puts(figure_text(value, "text"));
    json_decref(value);
    return result;
}
