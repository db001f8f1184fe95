/* SPDX-License-Identifier: ISC */
/* Becomes another user, temporarily or for good. */
#include "daemon/user.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/account.h"
#include "base/log.h"

int user_find(struct user *user, const char *name)
{
    *user = (struct user){.name = NULL};
    if (name[0] == '\0' || geteuid() != 0)
        return 0;
    if (account_find_user(name, &user->uid, &user->gid) < 0) {
        log_error("user %s: %s", name, errno != 0 ? strerror(errno) : "no such user");
        return -1;
    }
    user->name = name;
    return 0;
}

void user_clear(struct user *user)
{
    free(user->own_groups);
    *user = (struct user){.name = NULL};
}

static int fail(const struct user *user)
{
    log_error("cannot become user %s: %s", user->name, strerror(errno));
    return -1;
}

/* 0, or -1 with errno. */
static int note_own_groups(struct user *user)
{
    int count = getgroups(0, NULL);
    if (count < 0)
        return -1;
    gid_t *groups = calloc((size_t)count + 1, sizeof(*groups));
    if (groups == NULL)
        return -1;
    count = getgroups(count, groups);
    if (count < 0) {
        free(groups);
        return -1;
    }
    free(user->own_groups);
    user->own_groups = groups;
    user->own_group_count = count;
    user->own_gid = getegid();
    return 0;
}

/* The user id is given up last and regained first: changing the others takes root. */
int user_pose(struct user *user)
{
    if (user->name == NULL)
        return 0;
    if (note_own_groups(user) < 0 || initgroups(user->name, user->gid) < 0 ||
        setegid(user->gid) < 0 || seteuid(user->uid) < 0)
        return fail(user);
    return 0;
}

int user_unpose(struct user *user)
{
    if (user->name == NULL)
        return 0;
    if (seteuid(0) == 0 && setegid(user->own_gid) == 0 &&
        setgroups((size_t)user->own_group_count, user->own_groups) == 0)
        return 0;
    log_error("cannot become root again: %s", strerror(errno));
    return -1;
}

int user_become(const struct user *user)
{
    if (user->name == NULL)
        return 0;
    if (initgroups(user->name, user->gid) < 0 || setgid(user->gid) < 0 || setuid(user->uid) < 0)
        return fail(user);
    return 0;
}
