/* SPDX-License-Identifier: ISC */
/* How the program is started again: what the new process gets, and how failures are handled. */
#include "support/log_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config-build.h"
#include "daemon/program.h"
#include "daemon/successor.h"
#include "support/shortage.h"
#include "support/sockets.h"

static char *own_path; /* of this test */
static char show_word[] = "show", hang_word[] = "hang";
static int fork_error, fork_again_error, socketpair_error;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_socketpair(int domain, int type, int protocol, int fds[2]);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);

pid_t __wrap_fork(void)
{
    errno = fork_error;
    return fork_error == 0 ? __real_fork() : -1;
}

#ifdef HAVE__FORK
pid_t __real__Fork(void);
pid_t __wrap__Fork(void);

pid_t __wrap__Fork(void)
{
    errno = fork_again_error;
    return fork_again_error == 0 ? __real__Fork() : -1;
}
#endif

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
    errno = socketpair_error;
    return socketpair_error == 0 ? __real_socketpair(domain, type, protocol, fds) : -1;
}

/* The other process: what it has been started with, as lines. */

static void show_variable(FILE *out, const char *name)
{
    const char *value = getenv(name);
    fprintf(out, "%s=%s\n", name, value == NULL ? "-" : value);
}

static int show(const char *file)
{
    char line[200];
    struct stat st;
    /* Before another one is opened. */
    char open_ones[200] = "", *at = open_ones;
    for (int fd = 0; fd < 300; fd++) {
        if (fstat(fd, &st) == 0)
            at += sprintf(at, fd < 3 ? " %d" : " %d=%lu", fd, (unsigned long)st.st_ino);
    }
    FILE *out = fopen(file, "we");
    fprintf(out, "pid %d\nopen%s\n", (int)getpid(), open_ones);
    show_variable(out, "LISTEN_PID");
    show_variable(out, "LISTEN_FDS");
    show_variable(out, "LISTEN_FDNAMES");
    show_variable(out, "KAPROXY_HANDOVER");
    show_variable(out, "WATCHDOG_PID");
    show_variable(out, "TEST_OTHER");
    FILE *status = fopen("/proc/self/status", "re");
    while (fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, "SigBlk", 6) == 0 || strncmp(line, "SigIgn", 6) == 0)
            fputs(line, out);
    }
    fclose(status);
    return fclose(out) == 0 ? 0 : 1;
}

/* This process. */

struct world {
    struct fixture *fixture;
    struct event_base *base;
    struct program program;
    char *argv[4];
    struct successor_options options;
    struct successor_socket sockets[8];
    int ended;
    char why[PATH_MAX + 200];
};

static void on_ended(void *arg, const char *why)
{
    struct world *world = arg;
    world->ended++;
    snprintf(world->why, sizeof(world->why), "%s", why);
}

static sigset_t own_mask(void)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return mask;
}

/* The program that runs the tests may have left descriptors that are not ours, and these must not
 * be where the test needs its own. */
static void world_init(struct world *world, struct fixture *f)
{
    const sigset_t mask = own_mask();
    *world = (struct world){.fixture = f, .argv = {own_path, show_word, f->other}};
    open_messages(f->file, LOG_LEVEL_NOTICE);
    world->base = event_base_new();
    assert_int_equal(program_note(&world->program, world->argv, &mask), 0);
    world->options = (struct successor_options){.base = world->base,
                                                .program = &world->program,
                                                .sockets = world->sockets,
                                                .control = open("/dev/null", O_RDWR | O_CLOEXEC),
                                                .places = open("/dev/zero", O_RDWR | O_CLOEXEC),
                                                .ended = on_ended,
                                                .arg = world};
}

static void world_clear(struct world *world)
{
    close(world->options.control);
    close(world->options.places);
    for (size_t i = 0; i < world->options.count; i++)
        close(world->sockets[i].fd);
    program_clear(&world->program);
    event_base_free(world->base);
}

/* A socket at this descriptor, to be the next one of the options. */
static void add_socket(struct world *world, int fd, const char *name, bool is_ours)
{
    int opened = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (opened != fd) {
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        assert_int_equal(dup3(opened, fd, O_CLOEXEC), fd);
        close(opened);
    }
    world->sockets[world->options.count++] =
        (struct successor_socket){.fd = fd, .name = name, .is_ours = is_ours};
}

static void run(struct world *world)
{
    struct successor *successor = successor_start(&world->options);
    assert_non_null(successor);
    while (world->ended == 0)
        assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
    successor_free(successor);
    assert_int_equal(world->ended, 1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static PRINTF(2, 3) void assert_line(struct world *world, const char *format, ...)
{
    char line[400] = "\n";
    va_list args;
    va_start(args, format);
    vsnprintf(line + 1, sizeof(line) - 2, format, args);
    va_end(args);
    strcat(line, "\n");
    const char *text = content(world->fixture, world->fixture->other);
    if (strstr(text, line) == NULL)
        assert_string_equal(text, line);
}

static unsigned long inode(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (unsigned long)st.st_ino;
}

/* They are where the others are to be, and in another order. */
static void test_descriptors_and_environment(void **state)
{
    struct world world;
    setenv("TEST_OTHER", "as it was", 1);
    setenv("LISTEN_FDS", "not ours", 1);
    world_init(&world, *state);
    int leaked = open("/dev/null", O_RDWR); /* as by a library */
    add_socket(&world, 35, "a", false);
    add_socket(&world, 42, "b:b b", true);
    add_socket(&world, 41, "admin", false);
    add_socket(&world, 200, "\377", true);
    int count = sockets_count();
    run(&world);
    assert_int_equal(sockets_count(), count);
    assert_matches(world.why, "^process [0-9]+ ended with exit status 0$");
    int pid = atoi(world.why + 8);
    const char *text = content(world.fixture, world.fixture->other);
    assert_matches(text, "^pid [0-9]+\n");
    assert_int_equal(atoi(text + 4), pid);
    assert_line(&world, "open 0 1 2 3=%lu 4=%lu 5=%lu 6=%lu 7=%lu 8=%lu", inode(35), inode(42),
                inode(41), inode(200), inode(world.options.control), inode(world.options.places));
    assert_line(&world, "LISTEN_PID=%d", pid);
    assert_line(&world, "LISTEN_FDS=4");
    assert_line(&world, "LISTEN_FDNAMES=a:b_b_b:admin:_");
    assert_line(&world, "KAPROXY_HANDOVER=7:8:1,3");
    assert_line(&world, "WATCHDOG_PID=-");
    assert_line(&world, "TEST_OTHER=as it was");
    close(leaked);
    world_clear(&world);
    unsetenv("LISTEN_FDS");
}

static void test_no_sockets(void **state)
{
    struct world world;
    world_init(&world, *state);
    run(&world);
    assert_line(&world, "LISTEN_FDS=0");
    assert_line(&world, "LISTEN_FDNAMES=");
    assert_line(&world, "KAPROXY_HANDOVER=3:4:");
    world_clear(&world);
}

/* Every permutation of some descriptors in their own places, and the channels among them. */
static void test_every_order(void **state)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct world world;
        world_init(&world, *state);
        int own[3];
        for (int j = 0; j < 3; j++)
            own[j] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        for (int j = 0; j < 3; j++)
            world.sockets[j] = (struct successor_socket){.fd = own[orders[i][j]], .name = "x"};
        world.options.count = 3;
        run(&world);
        assert_line(&world, "open 0 1 2 3=%lu 4=%lu 5=%lu 6=%lu 7=%lu", inode(world.sockets[0].fd),
                    inode(world.sockets[1].fd), inode(world.sockets[2].fd),
                    inode(world.options.control), inode(world.options.places));
        world_clear(&world);
        log_close();
    }
}

/* The supervisor's watchdog is for our process, and then for the new one. */
static void test_watchdog(void **state)
{
    struct world world;
    char text[32];
    for (int ours = 0; ours < 2; ours++) {
        snprintf(text, sizeof(text), "%d", (int)(ours ? getpid() : getppid()));
        setenv("WATCHDOG_PID", text, 1);
        world_init(&world, *state);
        run(&world);
        assert_line(&world, "WATCHDOG_PID=%d", ours ? atoi(world.why + 8) : (int)getppid());
        world_clear(&world);
        log_close();
    }
    unsetenv("WATCHDOG_PID");
}

static unsigned long long signal_set(struct world *world, const char *name)
{
    const char *text = strstr(content(world->fixture, world->fixture->other), name);
    assert_non_null(text);
    return strtoull(text + strlen(name), NULL, 16);
}

#define BIT(number) (1ULL << ((number)-1))

/* As they were when this process was started, whatever it has done since. */
static void test_signals(void **state)
{
    struct world world;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    world_init(&world, *state);
    signal(SIGUSR2, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaddset(&blocked, SIGHUP);
    sigdelset(&blocked, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    run(&world);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
    unsigned long long heeded = BIT(SIGHUP) | BIT(SIGWINCH) | BIT(SIGTERM) | BIT(SIGPIPE);
    assert_int_equal(signal_set(&world, "SigBlk:") & heeded, BIT(SIGWINCH));
    heeded = BIT(SIGUSR2) | BIT(SIGPIPE) | BIT(SIGTERM);
    assert_int_equal(signal_set(&world, "SigIgn:") & heeded, BIT(SIGUSR2));
    world_clear(&world);
}

/* It is known which process could not do what. */
static void test_program_is_gone(void **state)
{
    struct world world;
    world_init(&world, *state);
    int count = sockets_count();
    strcpy(world.program.path, "/nonexistent/kaproxy");
    run(&world);
    assert_string_equal(world.why,
                        "cannot execute /nonexistent/kaproxy: No such file or directory");
    strcpy(world.program.path, "/etc/passwd");
    world.ended = 0;
    run(&world);
    assert_string_equal(world.why, "cannot execute /etc/passwd: Permission denied");
    assert_int_equal(sockets_count(), count);
    world_clear(&world);
}

static void test_too_many_descriptors(void **state)
{
    struct world world;
    struct rlimit limit, before;
    world_init(&world, *state);
    add_socket(&world, 41, "a", false);
    for (; world.options.count < ARRAY_LEN(world.sockets); world.options.count++)
        world.sockets[world.options.count] = world.sockets[0];
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 20;
    int opened[20], count = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    /* All except the two of the reports. */
    while ((opened[count] = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0)
        count++;
    for (int i = 0; i < 2; i++)
        close(opened[--count]);
    struct successor *successor = successor_start(&world.options);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_non_null(successor);
    while (world.ended == 0)
        event_base_loop(world.base, EVLOOP_ONCE);
    successor_free(successor);
    assert_matches(world.why, "^cannot pass the sockets to .*: Too many open files$");
    while (count > 0)
        close(opened[--count]);
    world.options.count = 1;
    world_clear(&world);
}

/* Failures before there is a process are logged, and leave nothing behind. */
static void test_shortages(void **state)
{
    struct world world;
    char name[] = "kaproxy";
    world_init(&world, *state);
    int count = sockets_count();
    fork_error = EAGAIN;
    assert_null(successor_start(&world.options));
    fork_error = 0;
    socketpair_error = EMFILE;
    assert_null(successor_start(&world.options));
    socketpair_error = 0;
    world.program.path[0] = '\0';
    world.argv[0] = name;
    assert_null(successor_start(&world.options));
    assert_int_equal(sockets_count(), count);
    assert_int_equal(event_base_get_num_events(world.base, EVENT_BASE_COUNT_ADDED), 0);
    assert_matches(
        content(world.fixture, world.fixture->file),
        "^" HEAD " error: cannot start /[^\n]*test_successor again: Resource temporarily "
        "unavailable\n" HEAD " error: cannot start /[^\n]*test_successor again: Too many "
        "open files\n" HEAD " error: this program cannot be started again: it was "
        "not found in PATH\n$");
    world_clear(&world);
}

static void test_no_memory(void **state)
{
    struct world world;
    int nth = 0;
    world_init(&world, *state);
    add_socket(&world, 41, "a", false);
    int count = sockets_count();
    setenv("WATCHDOG_PID", "1", 1);
    world.program.has_watchdog = true;
    while (true) {
        shortage_of_calloc(++nth);
        struct successor *successor = successor_start(&world.options);
        shortage_of_calloc(0);
        if (successor != NULL) {
            successor_kill(successor);
            successor_free(successor);
            break;
        }
        assert_int_equal(sockets_count(), count);
        assert_int_equal(event_base_get_num_events(world.base, EVENT_BASE_COUNT_ADDED), 0);
    }
    assert_true(nth > 4);
    unsetenv("WATCHDOG_PID");
    world_clear(&world);
}

/* The process that does not end on its own. */
static void test_kill(void **state)
{
    struct world world;
    world_init(&world, *state);
    world.argv[1] = hang_word;
    struct successor *successor = successor_start(&world.options);
    assert_non_null(successor);
    pid_t pid = successor_pid(successor);
    assert_int_equal(kill(pid, 0), 0);
    successor_kill(successor);
    while (world.ended == 0)
        event_base_loop(world.base, EVLOOP_ONCE);
    assert_matches(world.why, "^process [0-9]+ was ended by signal 9 \\(Killed\\)$");
    successor_free(successor);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    /* And if that is not waited for, it is not left behind either. */
    successor = successor_start(&world.options);
    assert_non_null(successor);
    pid = successor_pid(successor);
    successor_kill(successor);
    successor_free(successor);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(world.ended, 1);
    world_clear(&world);
}

static pid_t parent_of(pid_t pid)
{
    char path[64], line[200];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    assert_non_null(status);
    while (fgets(line, sizeof(line), status) != NULL)
        sscanf(line, "PPid: %d", &parent);
    fclose(status);
    return parent;
}

static size_t descriptors_of(pid_t pid)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* Its parent has nothing of ours except its channel, and a successor that is on its own is the
 * child of the process that adopts orphans. */
static void test_on_its_own(void **state)
{
    struct world world;
    world_init(&world, *state);
    world.argv[1] = hang_word;
    struct successor *successor = successor_start(&world.options);
    assert_non_null(successor);
    pid_t pid = successor_pid(successor), between = parent_of(pid);
    assert_int_not_equal(between, getpid());
    assert_int_equal(descriptors_of(between), 1);
    kill(between, SIGTERM); /* as for all processes of a service */
    successor_free(successor);
    assert_int_equal(kill(between, 0), -1);
    assert_int_equal(parent_of(pid), getpid());
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(-1, NULL, 0), pid);
    assert_int_equal(waitpid(-1, NULL, 0), -1);
    assert_int_equal(world.ended, 0);
    world_clear(&world);
}

/* There is no way left to learn how the successor ends. */
static void test_parent_is_killed(void **state)
{
    struct world world;
    int status;
    world_init(&world, *state);
    world.argv[1] = hang_word;
    struct successor *successor = successor_start(&world.options);
    assert_non_null(successor);
    pid_t pid = successor_pid(successor);
    kill(parent_of(pid), SIGKILL);
    while (world.ended == 0)
        event_base_loop(world.base, EVLOOP_ONCE);
    successor_free(successor);
    assert_matches(world.why, "^the parent of process [0-9]+ has ended$");
    assert_int_equal(waitpid(-1, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(waitpid(-1, NULL, 0), -1);
    world_clear(&world);
}

/* If we are killed, whatever we had opened for it, its parent ends, and it does not. */
static void test_we_are_killed(void **state)
{
    struct world world;
    int pids[2];
    pid_t pid = 0;
    world_init(&world, *state);
    world.argv[1] = hang_word;
    assert_int_equal(pipe(pids), 0);
    pid_t starter = fork();
    if (starter == 0) {
        struct successor *successor = successor_start(&world.options);
        pid = successor_pid(successor);
        ssize_t written = write(pids[1], &pid, sizeof(pid));
        pause();
        _exit(written < 0);
    }
    assert_int_equal(read(pids[0], &pid, sizeof(pid)), sizeof(pid));
    pid_t between = parent_of(pid);
    kill(starter, SIGKILL);
    assert_int_equal(waitpid(starter, NULL, 0), starter);
    int status;
    assert_int_equal(waitpid(-1, &status, 0), between);
    assert_int_equal(status, 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(-1, NULL, 0), pid);
    close(pids[0]);
    close(pids[1]);
    world_clear(&world);
}

/* The first process is there already. */
static void test_second_fork_fails(void **state)
{
    struct world world;
    world_init(&world, *state);
#ifdef HAVE__FORK
    int count = sockets_count();
    fork_again_error = EAGAIN;
    assert_null(successor_start(&world.options));
    fork_again_error = 0;
    assert_int_equal(sockets_count(), count);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_matches(content(world.fixture, world.fixture->file),
                   "^" HEAD " error: cannot start [^\n]+: Resource temporarily unavailable\n$");
#endif
    world_clear(&world);
}

/* program_note. */

static const char *path_of(const char *name)
{
    static struct program program;
    char copy[PATH_MAX];
    char *argv[] = {name == NULL ? NULL : copy, NULL};
    if (name != NULL)
        snprintf(copy, sizeof(copy), "%s", name);
    const sigset_t mask = own_mask();
    assert_int_equal(program_note(&program, argv, &mask), 0);
    program_clear(&program);
    return program.path;
}

static void test_path(void **state)
{
    struct fixture *f = *state;
    char before[PATH_MAX], path[PATH_MAX + 50];
    char *usual = strdup(getenv("PATH"));
    assert_non_null(getcwd(before, sizeof(before)));
    snprintf(path, sizeof(path), "%s/program", f->folder);
    assert_int_equal(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700)), 0);
    assert_string_equal(path_of("/sbin/x"), "/sbin/x");
    assert_int_equal(chdir(f->folder), 0);
    snprintf(path, sizeof(path), "%s/./program", f->folder);
    assert_string_equal(path_of("./program"), path);
    assert_string_equal(path_of("program"), "");
    /* As execvp(3): an empty folder is the current one, and what is not a program is skipped. */
    snprintf(path, sizeof(path), "%s/program", f->folder);
    setenv("PATH", "/nonexistent:/tmp:", 1);
    assert_string_equal(path_of("program"), path);
    snprintf(path, sizeof(path), "/nonexistent:%s", f->folder);
    setenv("PATH", path, 1);
    snprintf(path, sizeof(path), "%s/program", f->folder);
    assert_string_equal(path_of("program"), path);
    snprintf(path, sizeof(path), "../%s", strrchr(f->folder, '/') + 1);
    setenv("PATH", path, 1);
    snprintf(path, sizeof(path), "%s/../%s/program", f->folder, strrchr(f->folder, '/') + 1);
    assert_string_equal(path_of("program"), path);
    snprintf(path, sizeof(path), "%s/program", f->folder);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(unlink(path), 0);
    assert_string_equal(path_of("program"), "");
    unsetenv("PATH");
    assert_string_equal(path_of("sh"), "/bin/sh");
    assert_string_equal(path_of(""), "");
    assert_string_equal(path_of(NULL), "");
    setenv("PATH", usual, 1);
    free(usual);
    assert_int_equal(chdir(before), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_descriptors_and_environment),
        LOG_TEST(test_no_sockets),
        LOG_TEST(test_every_order),
        LOG_TEST(test_watchdog),
        LOG_TEST(test_signals),
        LOG_TEST(test_program_is_gone),
        LOG_TEST(test_too_many_descriptors),
        LOG_TEST(test_shortages),
        LOG_TEST(test_no_memory),
        LOG_TEST(test_kill),
        LOG_TEST(test_on_its_own),
        LOG_TEST(test_parent_is_killed),
        LOG_TEST(test_we_are_killed),
        LOG_TEST(test_second_fork_fails),
        LOG_TEST(test_path),
    };
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        _exit(show(argv[2]));
    if (argc > 1 && strcmp(argv[1], "hang") == 0)
        pause();
    for (int fd = STDERR_FILENO + 1; fd < 300; fd++)
        close(fd);
    own_path = realpath(argv[0], NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* whose end is not waited for appears here */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(own_path);
    return failed;
}
