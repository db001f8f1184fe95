/* SPDX-License-Identifier: ISC */
/* The command line, the order of a start, signals, the exit status. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config-build.h"
#ifdef HAVE_MALLOPT
#include <malloc.h>
#endif
#include "base/about.h"
#include "base/log.h"
#include "config/config.h"
#include "daemon/control.h"
#include "daemon/generation.h"
#include "daemon/inherited.h"
#include "daemon/program.h"
#include "daemon/start.h"
#include "daemon/worker.h"

struct arguments {
    const char *file; /* NULL: the default one */
    bool check;
    bool verbose;
};

static const char usage[] = "usage: kaproxy [-c FILE] [-t [-v]] [-V] [-h]\n"
                            "  -c FILE  configuration (default: " KAPROXY_INI ")\n"
                            "  -t       check the configuration and exit\n"
                            "  -v       with -t: print the effective values\n"
                            "  -V       print the version and exit\n"
                            "  -h       print this help and exit\n";

/* Does not return where the command line alone decides. */
static struct arguments parse_arguments(int argc, char **argv)
{
    struct arguments arguments = {.file = NULL};
    int option;
    while ((option = getopt(argc, argv, "c:tvVh")) != -1) {
        switch (option) {
        case 'c':
            arguments.file = optarg;
            break;
        case 't':
            arguments.check = true;
            break;
        case 'v':
            arguments.verbose = true;
            break;
        case 'V':
            fputs("kaproxy " PACKAGE_VERSION "\n" ABOUT, stdout);
            exit(EXIT_SUCCESS);
        case 'h':
            printf("%s%s", usage, ABOUT);
            exit(EXIT_SUCCESS);
        default:
            fputs(usage, stderr);
            exit(EXIT_FAILURE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "kaproxy: unexpected argument: %s\n%s", argv[optind], usage);
        exit(EXIT_FAILURE);
    }
    if (arguments.verbose && !arguments.check) {
        fprintf(stderr, "kaproxy: -v goes with -t\n%s", usage);
        exit(EXIT_FAILURE);
    }
    return arguments;
}

/* 0, or -1 with what was found written. */
static int check_start(const struct config *config)
{
    struct config_errors findings;
    config_errors_init(&findings);
    int result = start_check(config, &findings);
    config_errors_write(&findings, config->file, stderr);
    config_errors_clear(&findings);
    return result;
}

static int check(const struct config *config, bool verbose)
{
    if (check_start(config) < 0)
        return EXIT_FAILURE;
    printf("%s: ok\n", config->file);
    if (verbose)
        config_print(config, stdout);
    if (fflush(stdout) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "kaproxy: standard output: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

/* With 0 to 2 closed, a socket could become standard error. */
static int fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

/* How much free memory malloc keeps for what comes next. */
#define FREE_MEMORY (2 * 1024 * 1024)

/* Left to itself malloc gives the memory of a large body back to the kernel, page by page, only to
 * ask for it again when the next body comes; and has a heap for each thread, of which those but the
 * first grow by a page at a time. Only one thread allocates much. */
static void keep_free_memory(void)
{
#ifdef HAVE_MALLOPT
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, FREE_MEMORY);
    mallopt(M_MMAP_THRESHOLD, FREE_MEMORY);
#endif
}

/* When there are no privileges left that the writer's thread would keep. 0, or -1; then it was
 * logged. */
static int start_log(void)
{
    if (log_start() == 0)
        return 0;
    log_error("cannot start the thread that writes the logs: %s", strerror(errno));
    return -1;
}

/* GCC's ThreadSanitizer loses a signal that comes in the first call of the main thread that it
 * takes for a blocking one: that must not be the wait for signals. */
static void block_once(void)
{
#if defined(__SANITIZE_THREAD__)
    usleep(1);
#endif
}

/* NULL; then it was logged. */
static struct generation *make_generation(struct config *config, struct inherited *inherited)
{
    struct config_errors findings;
    config_errors_init(&findings);
    struct generation *generation = generation_make(config_ref(config), NULL, inherited, &findings);
    config_errors_log(&findings, config->file);
    config_errors_clear(&findings);
    if (generation == NULL || inherited_check_left(inherited, stderr) == 0)
        return generation;
    generation_free(generation);
    return NULL;
}

/* Signals end nothing from here on, so that no socket's file is left behind. */
static int serve_generation(struct config *config, const struct user *user,
                            const struct program *program, struct inherited *inherited)
{
    int result = -1;
    struct worker *worker = NULL;
    struct control *control = control_new();
    struct generation *generation = control == NULL ? NULL : make_generation(config, inherited);
    if (generation == NULL)
        goto out;
    control_hand_over(control, program, inherited);
    worker = worker_new(generation, inherited_places_channel(inherited));
    if (control_listen(control, generation) == 0 && worker != NULL && user_become(user) == 0 &&
        start_log() == 0)
        result = control_run(control, worker);
out:
    worker_free(worker); /* which reports what was not yet */
    control_free(control);
    return result;
}

static int serve(struct config *config, const struct program *program, struct inherited *inherited)
{
    int status = EXIT_FAILURE;
    struct start start = {.config = config};
    signal(SIGPIPE, SIG_IGN);
    keep_free_memory();
    if (log_open("stderr", config->log_level) < 0 || start_init(&start, config) < 0 ||
        start_open_files(&start) < 0)
        goto out;
    log_notice("kaproxy " PACKAGE_VERSION " starts with %s", config->file);
    start_warn(&start);
    if (serve_generation(config, &start.user, program, inherited) == 0) {
        log_notice("stopped");
        status = EXIT_SUCCESS;
    }
out:
    log_close();
    start_clear(&start);
    return status;
}

/* Mistakes are written to standard error; a predecessor has them in its log, where whoever asked
 * for the handover looks. */
static struct config *load(const char *file, const struct inherited *inherited)
{
    char *mistakes = NULL;
    size_t size;
    FILE *out = inherited_has_predecessor(inherited) ? open_memstream(&mistakes, &size) : NULL;
    struct config *config = config_load(file, out != NULL ? out : stderr);
    if (out != NULL && fclose(out) == 0 && config == NULL)
        inherited_tell(inherited, mistakes);
    free(mistakes);
    return config;
}

static int run(const struct arguments *arguments, const struct program *program)
{
    int status = EXIT_FAILURE;
    struct inherited *inherited = NULL;
    if (!arguments->check && inherited_take(&inherited, stderr) < 0)
        return EXIT_FAILURE;
    struct config *config = load(arguments->file, inherited);
    if (config != NULL)
        status = arguments->check ? check(config, arguments->verbose)
                                  : serve(config, program, inherited);
    config_unref(config);
    inherited_free(inherited);
    return status;
}

/* Signals that would end us and have another meaning, until that can be heeded. The others do end
 * us, until there may be a file to remove. *blocked: all that is blocked now. A successor begins
 * with that, for they could come before it is here. */
static void hold_signals(sigset_t *blocked)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGUSR1);
    sigaddset(&held, SIGUSR2);
    sigprocmask(SIG_BLOCK, &held, NULL);
    sigprocmask(SIG_SETMASK, NULL, blocked);
}

int main(int argc, char **argv)
{
    sigset_t mask;
    struct program program;
    hold_signals(&mask);
    block_once();
    if (fill_standard_descriptors() < 0)
        return EXIT_FAILURE;
    if (program_note(&program, argv, &mask) < 0) {
        fprintf(stderr, "kaproxy: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    struct arguments arguments = parse_arguments(argc, argv);
    int status = run(&arguments, &program);
    program_clear(&program);
    return status;
}
