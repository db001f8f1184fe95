/* SPDX-License-Identifier: ISC */
/* Requests to kaproxy, with the response or, on standard error, what went wrong. */
#ifndef KAPROXY_CTL_ASK_H
#define KAPROXY_CTL_ASK_H

#include <jansson.h>

#include "ctl/client.h"
#include "ctl/options.h"

#define ASK_STATUS   "/status"
#define ASK_SESSIONS "/status?sessions=1"

/* The JSON of a response. EXIT_DONE, EXIT_REFUSED (then *value is kaproxy's response, if that was
 * JSON) or EXIT_UNREACHABLE, with a sentence in answer->error. */
int ask(const struct client *client, const char *method, const char *target, json_t **value,
        struct answer *answer);

/* The same for GET; errors are printed. The caller has a value only with EXIT_DONE. */
int ask_status(const struct client *client, const char *target, json_t **value);

void ask_complain(const char *sentence);

/* Writes a value as JSON. EXIT_DONE, or EXIT_UNREACHABLE when it cannot be written. */
int ask_print(const json_t *value);

#endif
