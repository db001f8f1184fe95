/* SPDX-License-Identifier: ISC */
/* Numeric ids of users and groups, by name. Any thread. */
#ifndef KAPROXY_ACCOUNT_H
#define KAPROXY_ACCOUNT_H

#include <sys/types.h>

#include "base/util.h"

/* 0, or -1: with errno 0 the name does not exist, otherwise the lookup failed. */
MUST_CHECK int account_find_user(const char *name, uid_t *uid, gid_t *gid);
MUST_CHECK int account_find_group(const char *name, gid_t *gid);

#endif
