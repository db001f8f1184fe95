#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config-build.h"
#ifdef HAVE_MALLOPT
#include <malloc.h>
#endif
#include "config.h"
#include "descriptors.h"
#include "log.h"
#include "user.h"
#include "worker.h"

struct arguments {
    const char *file;
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
    struct arguments arguments = {.file = KAPROXY_INI};
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
            puts("kaproxy " PACKAGE_VERSION);
            exit(EXIT_SUCCESS);
        case 'h':
            fputs(usage, stdout);
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

static int check(const struct config *config, bool verbose)
{
    printf("%s: ok\n", config->file);
    if (verbose)
        config_print(config, stdout);
    if (fflush(stdout) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "kaproxy: standard output: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

static int open_log(const char *what, const char *target, const struct user *user, int result)
{
    if (result == 0)
        return 0;
    const char *reason = log_open_error(target, errno);
    if (user->name == NULL)
        log_error("cannot open the %s %s: %s", what, target, reason);
    else
        log_error("cannot open the %s %s as user %s: %s", what, target, user->name, reason);
    return -1;
}

/* With the rights of the user that we are to become: what a path leads to must not depend on
 * root's, and files are opened anew by that user. 0, or -1; then it was logged. */
static int open_logs(const struct config *config, struct user *user)
{
    if (user_pose(user) < 0)
        return -1;
    int result = open_log("log", config->log, user, log_open(config->log, config->log_level));
    if (result == 0)
        result =
            open_log("access log", config->access_log, user, log_access_open(config->access_log));
    return user_unpose(user) < 0 ? -1 : result;
}

/* Raises the limit of descriptors as far as we may; returns it. */
static uint64_t raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return UINT64_MAX;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            log_warning("cannot raise the limit of descriptors: %s", strerror(errno));
            getrlimit(RLIMIT_NOFILE, &limit);
        }
    }
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

/* How many clients the limit of descriptors allows, 0: not a single one, and that was logged; and
 * how many pipes beside them. */
static unsigned share_descriptors(const struct config *config, unsigned *pipes)
{
    uint64_t limit = raise_descriptor_limit();
    struct descriptors needed = descriptors_needed(config);
    unsigned clients = descriptors_clients(config, &needed, limit);
    uint64_t connections = descriptors_connections(&needed, clients);
    if (clients == 0)
        log_error("the limit of %" PRIu64 " descriptors leaves none for clients: connections to "
                  "upstreams can take %" PRIu64 " and kaproxy itself %" PRIu64,
                  limit, connections, needed.own);
    else if (clients < config->max_clients)
        log_warning("max_clients is lowered from %u to %u by the limit of %" PRIu64
                    " descriptors: connections to upstreams can take %" PRIu64
                    " and kaproxy itself %" PRIu64,
                    config->max_clients, clients, limit, connections, needed.own);
    *pipes = descriptors_pipes(config, &needed, limit);
    return clients;
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
 * ask for it again when the next body comes. */
static void keep_free_memory(void)
{
#ifdef HAVE_MALLOPT
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

static int serve(const struct config *config)
{
    int status = EXIT_FAILURE;
    struct user user = {.name = NULL};
    struct worker *worker = NULL;
    signal(SIGPIPE, SIG_IGN);
    keep_free_memory();
    if (log_open("stderr", config->log_level) < 0 || user_find(&user, config->user) < 0 ||
        open_logs(config, &user) < 0)
        goto out;
    log_notice("kaproxy " PACKAGE_VERSION " starts with %s", config->file);
    if (config->user[0] != '\0' && user.name == NULL)
        log_warning("user = %s is ignored: not started as root", config->user);
    unsigned max_pipes, max_clients = share_descriptors(config, &max_pipes);
    if (max_clients > 0)
        worker = worker_new(config, max_clients, max_pipes);
    if (worker != NULL && user_become(&user) == 0 && start_log() == 0 && worker_run(worker) == 0)
        status = EXIT_SUCCESS;
    worker_free(worker);
out:
    log_close();
    user_clear(&user);
    return status;
}

/* Signals that would end us and have another meaning, until that can be heeded. The others do end
 * us, until there may be a file to remove. */
static void hold_signals(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGUSR1);
    sigaddset(&held, SIGUSR2);
    sigprocmask(SIG_BLOCK, &held, NULL);
}

int main(int argc, char **argv)
{
    hold_signals();
    if (fill_standard_descriptors() < 0)
        return EXIT_FAILURE;
    struct arguments arguments = parse_arguments(argc, argv);
    struct config *config = config_load(arguments.file, stderr);
    if (config == NULL)
        return EXIT_FAILURE;
    int status = arguments.check ? check(config, arguments.verbose) : serve(config);
    config_free(config);
    return status;
}
