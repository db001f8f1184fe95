/* SPDX-License-Identifier: ISC */
/* The command line. */
#ifndef KAPROXY_CTL_OPTIONS_H
#define KAPROXY_CTL_OPTIONS_H

#include <stdbool.h>

#include "base/util.h"
#include "ctl/place.h"
#include "ctl/views.h"

/* Options, as bits: which were given, and which a verb accepts. */
enum {
    OPTION_JSON = 1 << 0,
    OPTION_CHECK = 1 << 1,
    OPTION_NAMES = 1 << 2,
    OPTION_POOL = 1 << 3,
    OPTION_HOST = 1 << 4,
    OPTION_LISTENER = 1 << 5,
    OPTION_WAIT = 1 << 6,
    OPTION_NO_WAIT = 1 << 7,
    OPTION_TIMEOUT = 1 << 8,
    OPTION_BATCH = 1 << 9,
    OPTION_COUNT = 1 << 10,
    OPTION_INTERVAL = 1 << 11,
    OPTION_MAX_TIME = 1 << 12, /* any verb accepts it */
    OPTION_SORT = 1 << 13
};

struct verb;

struct options {
    struct place_options place;
    const struct verb *verb;
    const char *argument; /* NULL: none */
    unsigned given;       /* OPTION_... */
    const char *pool, *host, *listener;
    usec_t max_time;
    usec_t timeout; /* how long to wait; 0: not at all */
    usec_t interval;
    unsigned long count;           /* 0: unlimited */
    const char *column;            /* as given; NULL: not given */
    const struct view_order *sort; /* the verb's column of that name; NULL: none */
};

struct client;

struct verb {
    const char *name, *help;
    const char *argument; /* its name; NULL: it has no argument */
    unsigned takes;       /* OPTION_... */
    int (*run)(const struct client *client, const struct options *options); /* an exit status */
    const struct view_order *columns;                                       /* of OPTION_SORT */
};

/* Exits for --help and --version, and with EXIT_USAGE for a mistake. The verb help is returned as
 * NULL. `verbs` ends with one without a name. */
void options_parse(struct options *options, const struct verb *verbs, int argc, char **argv);
void options_help(const struct verb *verbs);
void options_help_verb(const struct verb *verb);

/* NULL: no such verb. */
const struct verb *options_find(const struct verb *verbs, const char *name);

/* The options of a verb, one per line; NULL: the verbs. */
void options_list(const struct verb *verbs, const struct verb *verb);

/* The columns of a verb, one per line. */
void options_list_columns(const struct verb *verb);

/* Prints the reason, and where to find help; EXIT_USAGE. */
int options_refuse(const char *format, ...) PRINTF(1, 2);

#endif
