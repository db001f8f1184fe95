/* SPDX-License-Identifier: ISC */
/* A reload runs as the user that kaproxy becomes, so this user must be able to read the
 * configuration and the certificates and keys that it names. A start as root reads them as root and
 * would not notice. */
#ifndef KAPROXY_FILES_H
#define KAPROXY_FILES_H

#include "config/config.h"
#include "config/config_errors.h"

/* Opens each file with the privileges of the effective user, whose name is given, and adds a
 * mistake for each that cannot be read. Relative paths are relative to the current directory. */
void files_check_user(const struct config *config, struct config_errors *errors, const char *user);

#endif
