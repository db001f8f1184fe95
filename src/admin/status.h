/* SPDX-License-Identifier: ISC */
/* GET /status: everything as one JSON object, for programs and for the status page. kaproxy(8) has
 * its members under STATUS; members are added in later versions, and none is taken away. */
#ifndef KAPROXY_STATUS_H
#define KAPROXY_STATUS_H

#include <jansson.h>

#include "admin/status_input.h"

/* A new object. NULL where memory is short; nothing is left behind then. */
json_t *status_new(const struct status_input *input);

/* A string, in which what is no UTF-8 becomes question marks; of NULL it is null. NULL where memory
 * is short. */
json_t *status_text(const char *text);

#endif
