/* SPDX-License-Identifier: ISC */
/* The user that kaproxy, started as root, becomes: with the user's id, group and further groups,
 * for a while or for good. For the time when there is one thread. Failures are logged. */
#ifndef KAPROXY_USER_H
#define KAPROXY_USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"

struct user {
    const char *name; /* borrowed; NULL: nobody, and what follows does nothing */
    uid_t uid;
    gid_t gid;
    gid_t own_gid; /* ours, to come back to */
    gid_t *own_groups;
    int own_group_count;
};

/* Looks a name up. It is nobody when the name is empty, or when we are not root. 0, or -1. */
MUST_CHECK int user_find(struct user *user, const char *name);
void user_clear(struct user *user);

/* Has the user's rights and no others, and is root again. 0, or -1: then who we are is not known,
 * and there is nothing to do but end. */
MUST_CHECK int user_pose(struct user *user);
MUST_CHECK int user_unpose(struct user *user);

/* Becomes the user for good. 0, or -1. */
MUST_CHECK int user_become(const struct user *user);

#endif
