/* SPDX-License-Identifier: ISC */
/* The user that kaproxy, started as root, becomes: with this user's id, group and supplementary
 * groups, temporarily or for good. For the time when there is one thread. Failures are logged. */
#ifndef KAPROXY_USER_H
#define KAPROXY_USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"

struct user {
    const char *name; /* borrowed; NULL: no user, and the functions below do nothing */
    uid_t uid;
    gid_t gid;
    gid_t own_gid; /* ours, to return to */
    gid_t *own_groups;
    int own_group_count;
};

/* Looks a name up. There is no user when the name is empty, or when we are not root. 0, or -1. */
MUST_CHECK int user_find(struct user *user, const char *name);
void user_clear(struct user *user);

/* Assumes the user's privileges and no others, and becomes root again. 0, or -1: then our identity
 * is undefined, and the only way out is to exit. */
MUST_CHECK int user_pose(struct user *user);
MUST_CHECK int user_unpose(struct user *user);

/* Becomes the user for good. 0, or -1. */
MUST_CHECK int user_become(const struct user *user);

#endif
