/* SPDX-License-Identifier: ISC */
/* What a new process needs is prepared before fork(2): since there are other threads, only
 * async-signal-safe functions may be called after it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/successor_internal.h"

/* A name made fit for LISTEN_FDNAMES. */
static void put_name(FILE *out, const char *name)
{
    for (; *name != '\0'; name++) {
        bool is_good = *name != ':' && *name > ' ' && *name != 0x7f;
        fputc(is_good ? *name : '_', out);
    }
}

/* NAME= followed by room for digits; NULL with ENOMEM. */
static char *variable_with_room(const char *name)
{
    char *variable = calloc(strlen(name) + PID_DIGITS, 1);
    if (variable != NULL)
        strcpy(variable, name);
    return variable;
}

/* NULL with ENOMEM. */
static char *names_variable(const struct successor_options *options)
{
    char *variable = NULL;
    size_t size;
    FILE *out = open_memstream(&variable, &size);
    if (out == NULL)
        return NULL;
    fputs("LISTEN_FDNAMES=", out);
    for (size_t i = 0; i < options->count; i++) {
        fputs(i > 0 ? ":" : "", out);
        put_name(out, options->sockets[i].name);
    }
    return fclose(out) == 0 ? variable : NULL;
}

static char *handover_variable(const struct successor_options *options)
{
    int next = FIRST_FD + (int)options->count;
    const char *separator = "";
    char *variable = NULL;
    size_t size;
    FILE *out = open_memstream(&variable, &size);
    if (out == NULL)
        return NULL;
    fprintf(out, "KAPROXY_HANDOVER=%d:%d:", next, next + 1);
    for (size_t i = 0; i < options->count; i++) {
        if (!options->sockets[i].is_ours)
            continue;
        fprintf(out, "%s%zu", separator, i);
        separator = ",";
    }
    return fclose(out) == 0 ? variable : NULL;
}

void launch_clear(struct launch *launch)
{
    free(launch->environment);
    free(launch->listen_pid);
    free(launch->watchdog_pid);
    free(launch->names);
    free(launch->fds);
    free(launch->handover);
    free(launch->descriptors);
}

/* 0, or -1 with ENOMEM. */
static int make_variables(struct launch *launch, const struct successor_options *options)
{
    launch->listen_pid = variable_with_room("LISTEN_PID=");
    if (launch->program->has_watchdog) {
        launch->watchdog_pid = variable_with_room("WATCHDOG_PID=");
        if (launch->watchdog_pid == NULL)
            return -1;
    }
    launch->names = names_variable(options);
    launch->handover = handover_variable(options);
    if (asprintf(&launch->fds, "LISTEN_FDS=%zu", options->count) < 0)
        launch->fds = NULL;
    return launch->listen_pid == NULL || launch->names == NULL || launch->handover == NULL ||
                   launch->fds == NULL
               ? -1
               : 0;
}

static int make_environment(struct launch *launch)
{
    char *const *old = launch->program->environment;
    char *const added[] = {launch->listen_pid, launch->fds, launch->names, launch->handover,
                           launch->watchdog_pid};
    size_t count = 0;
    while (old[count] != NULL)
        count++;
    launch->environment = calloc(count + ARRAY_LEN(added) + 1, sizeof(*launch->environment));
    if (launch->environment == NULL)
        return -1;
    memcpy(launch->environment, old, count * sizeof(*old));
    memcpy(launch->environment + count, added, sizeof(added)); /* the last one may be NULL */
    return 0;
}

int launch_init(struct launch *launch, const struct successor_options *options)
{
    *launch = (struct launch){.program = options->program, .count = (int)options->count + 2};
    launch->descriptors = calloc((size_t)launch->count, sizeof(*launch->descriptors));
    if (launch->descriptors == NULL || make_variables(launch, options) < 0 ||
        make_environment(launch) < 0) {
        launch_clear(launch);
        errno = ENOMEM;
        return -1;
    }
    for (size_t i = 0; i < options->count; i++)
        launch->descriptors[i] = options->sockets[i].fd;
    launch->descriptors[options->count] = options->control;
    launch->descriptors[options->count + 1] = options->places;
    return 0;
}
