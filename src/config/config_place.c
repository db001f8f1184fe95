/* SPDX-License-Identifier: ISC */
/* Finds the configuration file, and warns about the old one. */
#include "config/config_place.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static const char place[] = KAPROXY_INI, old_place[] = KAPROXY_OLD_INI;

/* A directory that cannot be searched may contain the file: reading it then reports the reason. */
static bool is_missing(const char *file)
{
    return access(file, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

static bool exists(const char *file)
{
    return access(file, F_OK) == 0;
}

const char *config_place_find(void)
{
    return is_missing(place) && exists(old_place) ? old_place : place;
}

const char *config_place_warning(const char *file)
{
    if (strcmp(file, old_place) == 0)
        return "this path is deprecated: move the file to " KAPROXY_INI;
    if (strcmp(file, place) == 0 && exists(old_place))
        return KAPROXY_OLD_INI " is not read: remove it";
    return NULL;
}
