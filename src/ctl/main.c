/* SPDX-License-Identifier: ISC */
/* kaproxyctl: shows what kaproxy does, and controls it. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/command.h"
#include "ctl/exits.h"
#include "ctl/show.h"
#include "ctl/top.h"

#define WHAT (OPTION_POOL | OPTION_HOST | OPTION_LISTENER | OPTION_JSON)
#define WAIT (OPTION_WAIT | OPTION_NO_WAIT | OPTION_TIMEOUT)

/* For the shells' completion, which passes a word: "verbs", or a verb for its options, or "sort:"
 * and a verb for its columns. */
#define COMPLETE "complete"
#define COLUMNS  "sort:"

static const struct verb verbs[] = {
    {"status", "what is wrong, and a summary", NULL, OPTION_JSON | OPTION_CHECK, show_status, NULL},
    {"pools", "pools, with their limits", NULL, OPTION_JSON | OPTION_NAMES, show_pools, NULL},
    {"hosts", "upstreams, with their connections", NULL, OPTION_JSON | OPTION_NAMES | OPTION_SORT,
     show_hosts, view_host_columns},
    {"listeners", "listeners, with their clients", NULL, OPTION_JSON | OPTION_NAMES, show_listeners,
     NULL},
    {"sessions", "clients, the oldest first", NULL, OPTION_JSON | OPTION_SORT, show_sessions,
     view_session_columns},
    {"top", "all of this, refreshed each second", NULL,
     OPTION_BATCH | OPTION_COUNT | OPTION_INTERVAL, top_run, NULL},
    {"metrics", "all numbers, as Prometheus reads them", NULL, 0, show_metrics, NULL},
    {"livez", "does it work? exit status 1 if not", NULL, OPTION_JSON, show_probe, NULL},
    {"readyz", "does it accept clients? exit status 1 if not", NULL, OPTION_JSON, show_probe, NULL},
    {"pause", "let clients wait, and use no connections; wait until none is in use", NULL,
     WHAT | WAIT, command_pause, NULL},
    {"resume", "end pause and drain", NULL, WHAT, command_run, NULL},
    {"reconnect", "replace all connections, as they become idle", NULL, WHAT, command_run, NULL},
    {"drain", "no more clients; wait until the present ones have left", NULL, WHAT | WAIT,
     command_drain, NULL},
    {"reload", "read the configuration again; wait for the outcome", NULL, OPTION_JSON,
     command_reload, NULL},
    {"log-level", "error, warning, notice, info or debug", "LEVEL", OPTION_JSON, command_log_level,
     NULL},
    {"help", "this text, or the options of a verb", NULL, 0, NULL, NULL},
    {COMPLETE, NULL, "WHAT", 0, NULL, NULL},
    {.name = NULL}};

static int run(const struct options *options)
{
    char error[PLACE_ERROR_MAX];
    struct client client = {.max_time = options->max_time, .wake_fd = -1};
    if (place_find(&client.place, &options->place, error) < 0) {
        ask_complain(error);
        return options->place.socket != NULL ? EXIT_USAGE : EXIT_UNREACHABLE;
    }
    int result = options->verb->run(&client, options);
    listen_address_clear(&client.place);
    return result;
}

static void list_words(const char *what)
{
    bool columns = strncmp(what, COLUMNS, strlen(COLUMNS)) == 0;
    const struct verb *verb = options_find(verbs, columns ? what + strlen(COLUMNS) : what);
    if (!columns)
        options_list(verbs, verb);
    else if (verb != NULL)
        options_list_columns(verb);
}

/* What does not need a running kaproxy. */
static int tell(const struct options *options)
{
    const struct verb *verb =
        options->argument == NULL ? NULL : options_find(verbs, options->argument);
    if (strcmp(options->verb->name, COMPLETE) == 0)
        list_words(options->argument);
    else if (options->argument == NULL)
        options_help(verbs);
    else if (verb == NULL)
        return options_refuse("there is no verb \"%s\"", options->argument);
    else
        options_help_verb(verb);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct options options;
    int result;
    setlocale(LC_CTYPE, "");
    options_parse(&options, verbs, argc, argv);
    result = options.verb->run == NULL ? tell(&options) : run(&options);
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return result;
    fprintf(stderr, "kaproxyctl: standard output: %s\n", strerror(errno));
    return EXIT_UNREACHABLE;
}
