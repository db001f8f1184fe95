/* SPDX-License-Identifier: ISC */
/* Checks that the user can read what a reload reads. */
#include "daemon/files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/regular_file.h"

/* NULL, or why it cannot be read. At a start it may be a pipe, whose writer is not waited for. */
static const char *try_to_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return error_text(errno);
    close(fd);
    return NULL;
}

static void check_key(struct config_errors *errors, int line, const char *key, const char *path,
                      const char *user)
{
    const char *reason = *path == '\0' ? NULL : regular_file_check(path);
    if (reason != NULL)
        config_errors_add(errors, line, "%s: %s cannot be read by user %s, as a reload must: %s",
                          key, path, user, reason);
}

void files_check_user(const struct config *config, struct config_errors *errors, const char *user)
{
    const char *reason = try_to_open(config->file);
    if (reason != NULL)
        config_errors_add(errors, 0, "this file cannot be read by user %s, as a reload must: %s",
                          user, reason);
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        const struct config_tls_lines *lines = &listener->tls_lines;
        check_key(errors, lines->ca_file, "tls_ca_file", listener->tls_ca_file, user);
        check_key(errors, lines->cert_file, "tls_cert_file", listener->tls_cert_file, user);
        check_key(errors, lines->key_file, "tls_key_file", listener->tls_key_file, user);
    }
}
