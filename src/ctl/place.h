/* SPDX-License-Identifier: ISC */
/* Where the admin server is. */
#ifndef KAPROXY_CTL_PLACE_H
#define KAPROXY_CTL_PLACE_H

#include "base/util.h"
#include "net/listen_address.h"

#define PLACE_ERROR_MAX 512

/* Both NULL where the command line does not say. */
struct place_options {
    const char *socket; /* unix:PATH, PATH or ADDR:PORT */
    const char *file;   /* kaproxy's configuration */
};

/* The option, $KAPROXY_ADMIN, [admin] of the file, $RUNTIME_DIRECTORY, [admin] of the default file,
 * /run/kaproxy: the first of them that there is. 0, and place->text is to be cleared by
 * listen_address_clear; -1 with a sentence in `error`. */
MUST_CHECK int place_find(struct listen_address *place, const struct place_options *options,
                          char error[PLACE_ERROR_MAX]);

#endif
