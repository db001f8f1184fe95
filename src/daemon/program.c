/* SPDX-License-Identifier: ISC */
/* Records how this program was started. */
#include "daemon/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where execvp(3) searches without PATH. */
#define DEFAULT_PATH "/bin:/usr/bin"

/* FOLDER/NAME, where the folder may be relative to the current one. False: too long, or there is no
 * current folder. */
static bool join(char path[PATH_MAX], const char *folder, size_t length, const char *name)
{
    char current[PATH_MAX] = "";
    bool is_absolute = length > 0 && *folder == '/';
    if (!is_absolute && getcwd(current, sizeof(current)) == NULL)
        return false;
    int size = snprintf(path, PATH_MAX, "%s%s%.*s%s%s", current,
                        !is_absolute && length > 0 ? "/" : "", (int)length, folder, "/", name);
    return size < PATH_MAX;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* False: not found. */
static bool search(char path[PATH_MAX], const char *name)
{
    const char *rest = getenv("PATH");
    if (rest == NULL)
        rest = DEFAULT_PATH;
    while (true) {
        size_t length = strcspn(rest, ":");
        if (join(path, rest, length, name) && is_program(path))
            return true;
        if (rest[length] == '\0')
            return false;
        rest += length + 1;
    }
}

static void find_path(struct program *program)
{
    const char *name = program->argv[0];
    bool found = false;
    if (name == NULL || *name == '\0')
        found = false;
    else if (*name == '/')
        found = snprintf(program->path, PATH_MAX, "%s", name) < PATH_MAX;
    else if (strchr(name, '/') != NULL)
        found = join(program->path, "", 0, name);
    else
        found = search(program->path, name);
    if (!found)
        program->path[0] = '\0';
}

static bool has_name(const char *variable, const char *name)
{
    size_t length = strlen(name);
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

/* What describes passed sockets is for us alone. */
static bool is_kept(const struct program *program, const char *variable)
{
    static const char *const ours[] = {"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS",
                                       "LISTEN_FDNAMES", "KAPROXY_HANDOVER"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (has_name(variable, ours[i]))
            return false;
    }
    return !(program->has_watchdog && has_name(variable, "WATCHDOG_PID"));
}

static int note_environment(struct program *program)
{
    const char *watchdog = getenv("WATCHDOG_PID");
    size_t count = 0, kept = 0;
    program->has_watchdog = watchdog != NULL && strtol(watchdog, NULL, 10) == getpid();
    while (environ[count] != NULL)
        count++;
    program->environment = calloc(count + 1, sizeof(*program->environment));
    if (program->environment == NULL)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (is_kept(program, environ[i]))
            program->environment[kept++] = environ[i];
    }
    return 0;
}

static void note_signals(struct program *program)
{
    struct sigaction action;
    for (int number = 1; number < NSIG; number++)
        program->ignored[number] =
            sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int program_note(struct program *program, char *const *argv, const sigset_t *mask)
{
    *program = (struct program){.argv = argv, .mask = *mask};
    find_path(program);
    note_signals(program);
    return note_environment(program);
}

void program_clear(struct program *program)
{
    free(program->environment);
    program->environment = NULL;
}
