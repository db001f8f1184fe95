/* SPDX-License-Identifier: ISC */
/* GET /status: everything as one JSON object, for programs and for the status page. kaproxy(8)
 * lists its members under STATUS; later versions may add members, and remove none. */
#ifndef KAPROXY_STATUS_H
#define KAPROXY_STATUS_H

#include <jansson.h>

#include "admin/status_input.h"

/* A new object. NULL when out of memory, with nothing left behind. */
json_t *status_new(const struct status_input *input);

/* A string in which invalid UTF-8 is replaced by question marks; null for NULL. NULL when out of
 * memory. */
json_t *status_text(const char *text);

#endif
