/* SPDX-License-Identifier: ISC */
/* Shared by the files of the status; for status*.c alone.
 *
 *   status.c          the object, and the process
 *   status_metrics.c  numbers, rates and quantiles, by the metrics' descriptions
 *   status_rows.c     listeners, hosts, pools, sessions */
#ifndef KAPROXY_STATUS_INTERNAL_H
#define KAPROXY_STATUS_INTERNAL_H

#include <jansson.h>

#include "admin/names.h"
#include "admin/status.h"

/* The object under construction. When a part could not be made it continues without that, and all
 * of it is dropped in the end. */
struct build {
    const struct status_input *input;
    const struct config *config;
    const struct subjects *subjects;
    bool failed;
};

/* The value, which may be NULL (a failure), is added to the object, or freed. */
void status_put(struct build *build, json_t *object, const char *name, json_t *value);
void status_append(struct build *build, json_t *array, json_t *value);

json_t *status_seconds(int64_t microseconds);
json_t *status_moment(int64_t microseconds); /* of Unix time; null if 0 */
json_t *status_count(uint64_t count);

json_t *status_metrics(struct build *build, const struct subject *subject);
json_t *status_peaks(struct build *build, const struct subject *subject);
json_t *status_rates(struct build *build, const struct subject *subject);
json_t *status_quantiles(struct build *build, const struct subject *subject, const char *name);
json_t *status_reuse(struct build *build, const struct subject *subject);

json_t *status_listeners(struct build *build);
json_t *status_hosts(struct build *build);
json_t *status_pools(struct build *build);
json_t *status_tls(struct build *build);
json_t *status_sessions(struct build *build);

#endif
