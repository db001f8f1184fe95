/* SPDX-License-Identifier: ISC */
#include "ctl/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/exits.h"
#include "ctl/figures.h"
#include "ctl/text.h"

/* How often to ask whether something is still in use. */
#define WAIT_STEP (250 * USEC_PER_MSEC)

/* ?name=value or &name=value, if there is a value. */
static void put_parameter(FILE *target, char *mark, const char *name, const char *value)
{
    static const char unreserved[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-._~";
    if (value == NULL)
        return;
    fprintf(target, "%c%s=", *mark, name);
    for (; *value != '\0'; value++) {
        if (strchr(unreserved, *value) != NULL)
            putc(*value, target);
        else
            fprintf(target, "%%%02X", (unsigned)(unsigned char)*value);
    }
    *mark = '&';
}

/* The caller frees it. */
static char *target_of(const struct options *options)
{
    char *text = NULL, mark = '?';
    size_t size;
    FILE *target = open_memstream(&text, &size);
    if (target == NULL)
        text_no_memory();
    fprintf(target, "/%s", options->verb->name);
    put_parameter(target, &mark, "pool", options->pool);
    put_parameter(target, &mark, "host", options->host);
    put_parameter(target, &mark, "listener", options->listener);
    put_parameter(target, &mark, "level", options->argument);
    if (fclose(target) != 0)
        text_no_memory();
    return text;
}

static int show(const struct options *options, const json_t *value)
{
    if ((options->given & OPTION_JSON) != 0)
        return ask_print(value);
    char *clean = text_clean(figure_text(value, "text"));
    puts(*clean != '\0' ? clean : "done");
    free(clean);
    return EXIT_DONE;
}

int command_run(const struct client *client, const struct options *options)
{
    struct answer answer;
    json_t *value;
    char *target = target_of(options);
    int result = ask(client, "POST", target, &value, &answer);
    free(target);
    if (result == EXIT_DONE)
        result = show(options, value);
    else
        ask_complain(answer.error);
    if (result == EXIT_REFUSED && value != NULL && (options->given & OPTION_JSON) != 0)
        ask_print(value);
    json_decref(value);
    return result;
}

int command_log_level(const struct client *client, const struct options *options)
{
    static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(options->argument, levels[i]) == 0)
            return command_run(client, options);
    }
    return options_refuse("\"%s\" is not error, warning, notice, info or debug", options->argument);
}

/* Before it answers, files are read and addresses bound. */
#define RELOAD_MAX_TIME (60 * USEC_PER_SEC)

static void print_lines(FILE *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *line = json_string_value(json_array_get(list, i));
        char *clean = text_clean(line == NULL ? "" : line);
        fprintf(out, "%s\n", clean);
        free(clean);
    }
}

static int show_changes(const struct options *options, const json_t *value)
{
    const json_t *changes = json_object_get(value, "changes");
    if ((options->given & OPTION_JSON) != 0)
        return ask_print(value);
    if (json_array_size(changes) == 0)
        puts("reloaded");
    print_lines(stdout, changes);
    return EXIT_DONE;
}

int command_reload(const struct client *client, const struct options *options)
{
    struct client patient = *client;
    struct answer answer;
    json_t *value;
    if ((options->given & OPTION_MAX_TIME) == 0)
        patient.max_time = RELOAD_MAX_TIME;
    int result = ask(&patient, "POST", "/reload", &value, &answer);
    if (result == EXIT_DONE) {
        result = show_changes(options, value);
    } else {
        print_lines(stderr, json_object_get(value, "mistakes"));
        ask_complain(answer.error);
        if (value != NULL && (options->given & OPTION_JSON) != 0)
            ask_print(value);
    }
    json_decref(value);
    return result;
}

/* What is still in use of what is paused or drains. */
struct rest {
    const char *state;
    double count;
    const char *what;
    unsigned so; /* how many of the rows that were meant have that state in /status */
    double pid;  /* of the kaproxy that was asked; 0: unknown */
};

/* As kaproxy accepts it: with the scheme or without. */
static bool is_upstream(const char *upstream, const char *host)
{
    const char *address = strstr(upstream, "://");
    return strcasecmp(upstream, host) == 0 ||
           (address != NULL && strcasecmp(address + 3, host) == 0);
}

static bool is_meant(const json_t *row, const struct options *options, bool is_listener)
{
    if (is_listener)
        return options->listener == NULL ||
               strcmp(figure_text(row, "name"), options->listener) == 0;
    return (options->pool == NULL || strcmp(figure_text(row, "pool"), options->pool) == 0) &&
           (options->host == NULL || is_upstream(figure_text(row, "upstream"), options->host));
}

static void count_rest(struct rest *rest, const json_t *status, const struct options *options)
{
    bool of_listeners =
        strcmp(rest->state, "draining") == 0 && options->pool == NULL && options->host == NULL;
    const json_t *list = json_object_get(status, of_listeners ? "listeners" : "hosts");
    rest->what = of_listeners ? "session" : "connection";
    rest->count = rest->so = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        if (!is_meant(row, options, of_listeners))
            continue;
        rest->so += strcmp(figure_text(row, "state"), rest->state) == 0;
        if (of_listeners)
            rest->count += figure_number(row, "metrics.sessions");
        else
            rest->count += figure_number(row, "metrics.connections.busy") +
                           figure_number(row, "metrics.connections.held");
    }
}

static void show_rest(const struct rest *rest, bool is_terminal, double *last)
{
    if (is_terminal && rest->count != *last)
        fprintf(stderr, "\r%.0f %s%s still in use \033[K", rest->count, rest->what,
                rest->count == 1 ? "" : "s");
    *last = rest->count;
}

/* One request of /status. EXIT_WAITED: continue. A kaproxy that was started since knows nothing of
 * the command, though nothing is in use there. */
static int look_once(const struct client *client, const struct options *options, struct rest *rest)
{
    json_t *status;
    int result = ask_status(client, ASK_STATUS, &status);
    if (result != EXIT_DONE)
        return result;
    double pid = figure_number(status, "kaproxy.pid");
    bool is_another = rest->pid != 0 && pid != rest->pid;
    unsigned before = rest->so;
    rest->pid = pid;
    count_rest(rest, status, options);
    json_decref(status);
    if (is_another) {
        ask_complain("kaproxy was restarted meanwhile, and does not know of it");
        return EXIT_REFUSED;
    }
    if (before > 0 && rest->so == 0) {
        ask_complain("it was resumed meanwhile");
        return EXIT_REFUSED;
    }
    return rest->count == 0 ? EXIT_DONE : EXIT_WAITED;
}

static int wait_until_unused(const struct client *client, const struct options *options,
                             struct rest *rest)
{
    bool is_terminal = isatty(STDERR_FILENO) == 1;
    usec_t until = options->timeout == 0 ? INT64_MAX : client_now() + options->timeout;
    double last = -1;
    int result;
    fflush(stdout);
    while ((result = look_once(client, options, rest)) == EXIT_WAITED) {
        show_rest(rest, is_terminal, &last);
        usec_t left = until - client_now();
        if (left <= 0)
            break;
        client_sleep(client, left < WAIT_STEP ? left : WAIT_STEP);
    }
    if (is_terminal && last >= 0)
        fputs("\r\033[K", stderr);
    if (result == EXIT_WAITED)
        fprintf(stderr, "kaproxyctl: %.0f %s%s still in use after %.3g s\n", rest->count,
                rest->what, rest->count == 1 ? " is" : "s are",
                (double)options->timeout / (double)USEC_PER_SEC);
    else if (result == EXIT_DONE && (options->given & OPTION_JSON) == 0)
        puts("Nothing is in use there any more.");
    return result;
}

int command_drain(const struct client *client, const struct options *options)
{
    struct rest rest = {.state = "draining"};
    int result = command_run(client, options);
    if (result != EXIT_DONE || (options->given & OPTION_NO_WAIT) != 0)
        return result;
    return wait_until_unused(client, options, &rest);
}

/* The clients of a paused listener may have connections, which cannot be distinguished from those
 * of others. */
int command_pause(const struct client *client, const struct options *options)
{
    struct rest rest = {.state = "paused"};
    int result = command_run(client, options);
    if (result != EXIT_DONE || (options->given & OPTION_NO_WAIT) != 0 || options->listener != NULL)
        return result;
    return wait_until_unused(client, options, &rest);
}
