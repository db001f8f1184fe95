/* SPDX-License-Identifier: ISC */
#include "ctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/about.h"
#include "config-build.h"
#include "ctl/exits.h"

static const struct option long_options[] = {{"socket", required_argument, NULL, 's'},
                                             {"config", required_argument, NULL, 'c'},
                                             {"max-time", required_argument, NULL, 'm'},
                                             {"json", no_argument, NULL, 'j'},
                                             {"check", no_argument, NULL, 'C'},
                                             {"names", no_argument, NULL, 'N'},
                                             {"pool", required_argument, NULL, 'P'},
                                             {"host", required_argument, NULL, 'H'},
                                             {"listener", required_argument, NULL, 'L'},
                                             {"wait", no_argument, NULL, 'w'},
                                             {"no-wait", no_argument, NULL, 'W'},
                                             {"timeout", required_argument, NULL, 't'},
                                             {"batch", no_argument, NULL, 'b'},
                                             {"count", required_argument, NULL, 'n'},
                                             {"interval", required_argument, NULL, 'i'},
                                             {"sort", required_argument, NULL, 'S'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, 'V'},
                                             {NULL, 0, NULL, 0}};

static const struct {
    unsigned bit;
    const char *name;
} bits[] = {
    {OPTION_JSON, "--json"},   {OPTION_CHECK, "--check"},     {OPTION_NAMES, "--names"},
    {OPTION_POOL, "--pool"},   {OPTION_HOST, "--host"},       {OPTION_LISTENER, "--listener"},
    {OPTION_WAIT, "--wait"},   {OPTION_NO_WAIT, "--no-wait"}, {OPTION_TIMEOUT, "--timeout"},
    {OPTION_BATCH, "--batch"}, {OPTION_COUNT, "--count"},     {OPTION_INTERVAL, "--interval"},
    {OPTION_SORT, "--sort"}};

static const char help_options[] =
    "\n"
    "How to reach kaproxy:\n"
    "  -s, --socket ADDRESS   unix:PATH or ADDR:PORT, as in [admin] listen\n"
    "  -c, --config FILE      the configuration that kaproxy runs with\n"
    "      --max-time SECONDS how long an answer may take (default: 5; reload: 60)\n"
    "Options of verbs:\n"
    "  -j, --json             kaproxy's JSON, for programs\n"
    "      --check            status: exit 1 if something critical is wrong, 2 for a warning\n"
    "      --names            pools, hosts, listeners: just the names\n"
    "      --sort COLUMN      hosts, sessions: by a column of the table, numbers from the largest\n"
    "      --pool, --host, --listener NAME\n"
    "                         pause, resume, reconnect, drain: the subject\n"
    "      --wait, --no-wait  pause, drain: until nothing is in use (default: --wait)\n"
    "      --timeout SECONDS  pause, drain: but no longer than that\n"
    "  -i, --interval SECONDS top: between two refreshes (default: 1)\n"
    "  -b, --batch            top: plain text, one screen after the other\n"
    "  -n, --count COUNT      top: number of screens\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Exit status: 0 done, 1 refused or critical, 2 usage or warning, 3 no answer, 4 waited too "
    "long\n";

int options_refuse(const char *format, ...)
{
    va_list args;
    fputs("kaproxyctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nkaproxyctl --help lists verbs and options.\n", stderr);
    return EXIT_USAGE;
}

void options_help(const struct verb *verbs)
{
    char name[40];
    puts("usage: kaproxyctl [OPTION...] VERB [ARGUMENT]\n");
    for (const struct verb *verb = verbs; verb->name != NULL; verb++) {
        if (verb->help == NULL)
            continue;
        snprintf(name, sizeof(name), "%s%s%s", verb->name, verb->argument == NULL ? "" : " ",
                 verb->argument == NULL ? "" : verb->argument);
        printf("  %-18s %s\n", name, verb->help);
    }
    printf("%s%s", help_options, ABOUT);
}

void options_help_verb(const struct verb *verb)
{
    printf("usage: kaproxyctl [OPTION...] %s%s%s\n\n  %s\n\nIts options:", verb->name,
           verb->argument == NULL ? "" : " ", verb->argument == NULL ? "" : verb->argument,
           verb->help == NULL ? "words for the shells" : verb->help);
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        if ((verb->takes & bits[i].bit) != 0)
            printf(" %s", bits[i].name);
    }
    puts(" --socket --config --max-time --help --version\nkaproxyctl --help and kaproxyctl(8) say "
         "what they mean.");
}

const struct verb *options_find(const struct verb *verbs, const char *name)
{
    for (const struct verb *verb = verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) == 0)
            return verb;
    }
    return NULL;
}

void options_list(const struct verb *verbs, const struct verb *verb)
{
    for (; verb == NULL && verbs->name != NULL; verbs++) {
        if (verbs->help != NULL)
            puts(verbs->name);
    }
    if (verb == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        if ((verb->takes & bits[i].bit) != 0)
            puts(bits[i].name);
    }
    puts("--socket\n--config\n--max-time\n--help\n--version");
}

void options_list_columns(const struct verb *verb)
{
    for (const struct view_order *column = verb->columns; column != NULL && column->name != NULL;
         column++)
        puts(column->name);
}

static usec_t parse_seconds(const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0.01) || value > 1e6)
        exit(options_refuse("--%s: \"%s\" is not a number of seconds from 0.01 to 1000000", option,
                            text));
    return (usec_t)llround(value * (double)USEC_PER_SEC);
}

static unsigned long parse_count(const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value == 0)
        exit(options_refuse("--count: \"%s\" is not a number from 1 up", text));
    return value;
}

static const char *parse_name(struct options *options, unsigned bit, const char *text)
{
    options->given |= bit;
    if (*text == '\0')
        exit(options_refuse("an empty name means nothing"));
    return text;
}

static void take(struct options *options, const struct verb *verbs, int option)
{
    switch (option) {
    case 's':
        options->place.socket = optarg;
        break;
    case 'c':
        options->place.file = optarg;
        break;
    case 'm':
        options->max_time = parse_seconds("max-time", optarg);
        options->given |= OPTION_MAX_TIME;
        break;
    case 'j':
        options->given |= OPTION_JSON;
        break;
    case 'C':
        options->given |= OPTION_CHECK;
        break;
    case 'N':
        options->given |= OPTION_NAMES;
        break;
    case 'P':
        options->pool = parse_name(options, OPTION_POOL, optarg);
        break;
    case 'H':
        options->host = parse_name(options, OPTION_HOST, optarg);
        break;
    case 'L':
        options->listener = parse_name(options, OPTION_LISTENER, optarg);
        break;
    case 'w':
        options->given = (options->given | OPTION_WAIT) & ~(unsigned)OPTION_NO_WAIT;
        break;
    case 'W':
        options->given = (options->given | OPTION_NO_WAIT) & ~(unsigned)OPTION_WAIT;
        break;
    case 't':
        options->timeout = parse_seconds("timeout", optarg);
        options->given |= OPTION_TIMEOUT;
        break;
    case 'b':
        options->given |= OPTION_BATCH;
        break;
    case 'n':
        options->count = parse_count(optarg);
        options->given |= OPTION_COUNT;
        break;
    case 'i':
        options->interval = parse_seconds("interval", optarg);
        options->given |= OPTION_INTERVAL;
        break;
    case 'S':
        options->column = parse_name(options, OPTION_SORT, optarg);
        break;
    case 'h':
        options_help(verbs);
        exit(EXIT_DONE);
    case 'V':
        fputs("kaproxyctl " PACKAGE_VERSION "\n" ABOUT, stdout);
        exit(EXIT_DONE);
    default: /* getopt has printed the reason */
        fputs("kaproxyctl --help lists verbs and options.\n", stderr);
        exit(EXIT_USAGE);
    }
}

static const struct verb *find_verb(const struct verb *verbs, const char *name)
{
    const struct verb *verb = options_find(verbs, name);
    if (verb == NULL)
        exit(options_refuse("there is no verb \"%s\"", name));
    return verb;
}

/* NULL if it was not asked for. */
static const struct view_order *find_sort(const struct options *options)
{
    if (options->column == NULL)
        return NULL;
    const struct view_order *column = view_find_column(options->verb->columns, options->column);
    if (column == NULL)
        exit(options_refuse("--sort: %s has no column \"%s\"", options->verb->name,
                            options->column));
    return column;
}

static void check(const struct options *options)
{
    unsigned foreign = options->given & ~options->verb->takes;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        if ((foreign & bits[i].bit) != 0)
            exit(options_refuse("%s does not go with %s", bits[i].name, options->verb->name));
    }
    if (options->verb->argument != NULL && options->argument == NULL)
        exit(options_refuse("%s needs a %s", options->verb->name, options->verb->argument));
    if (options->listener != NULL && (options->pool != NULL || options->host != NULL))
        exit(options_refuse("--listener does not go with --pool or --host"));
}

void options_parse(struct options *options, const struct verb *verbs, int argc, char **argv)
{
    int option;
    *options = (struct options){.max_time = 5 * USEC_PER_SEC, .interval = USEC_PER_SEC};
    while ((option = getopt_long(argc, argv, "s:c:jbn:i:hV", long_options, NULL)) != -1)
        take(options, verbs, option);
    if (optind == argc)
        exit(options_refuse("no verb given"));
    options->verb = find_verb(verbs, argv[optind++]);
    bool may_have = options->verb->argument != NULL || options->verb->run == NULL;
    if (optind < argc && may_have)
        options->argument = argv[optind++];
    if (optind < argc)
        exit(options_refuse("unexpected argument: %s", argv[optind]));
    check(options);
    options->sort = find_sort(options);
}
