/* SPDX-License-Identifier: ISC */
/* Looks up users and groups in memory of the caller's: getpwnam(3)'s is shared by all threads. */
#include "base/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>

/* A group's entry holds all its members; no entry is larger than this. */
#define SIZE_FIRST 1024
#define SIZE_MOST  (1 << 24)

union entry {
    struct passwd user;
    struct group group;
};

/* One attempt: returns 0 or an error number; *found says whether the name exists. */
typedef int look_up(const char *name, union entry *entry, char *buffer, size_t size, bool *found);

static int look_up_user(const char *name, union entry *entry, char *buffer, size_t size,
                        bool *found)
{
    struct passwd *result = NULL;
    int error = getpwnam_r(name, &entry->user, buffer, size, &result);
    *found = result != NULL;
    return error;
}

static int look_up_group(const char *name, union entry *entry, char *buffer, size_t size,
                         bool *found)
{
    struct group *result = NULL;
    int error = getgrnam_r(name, &entry->group, buffer, size, &result);
    *found = result != NULL;
    return error;
}

/* What getpwnam(3) lists for "not found", besides 0. */
static bool is_missing(int error)
{
    return error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

/* Only the numbers in the entry are valid afterwards. */
static int find(look_up *attempt, const char *name, union entry *entry)
{
    bool found = false;
    int error = ERANGE;
    for (size_t size = SIZE_FIRST; error == ERANGE && size <= SIZE_MOST; size *= 2) {
        char *buffer = malloc(size);
        error = buffer == NULL ? ENOMEM : attempt(name, entry, buffer, size, &found);
        free(buffer);
    }
    if (found)
        return 0;
    errno = is_missing(error) ? 0 : error;
    return -1;
}

int account_find_user(const char *name, uid_t *uid, gid_t *gid)
{
    union entry entry;
    if (find(look_up_user, name, &entry) < 0)
        return -1;
    *uid = entry.user.pw_uid;
    *gid = entry.user.pw_gid;
    return 0;
}

int account_find_group(const char *name, gid_t *gid)
{
    union entry entry;
    if (find(look_up_group, name, &entry) < 0)
        return -1;
    *gid = entry.group.gr_gid;
    return 0;
}
