/* SPDX-License-Identifier: ISC */
/* Parts of /status, for humans. */
#ifndef KAPROXY_CTL_VIEWS_H
#define KAPROXY_CTL_VIEWS_H

#include <jansson.h>
#include <stdio.h>

#include "ctl/table.h"

/* An order of rows. */
struct view_order {
    const char *name; /* for humans */
    const char *path; /* the figure, largest first; NULL: unsorted */
    bool is_text;     /* it is text, in alphabetical order */
};

/* For top; the first one is kaproxy's own. */
extern const struct view_order view_host_orders[], view_session_orders[];
#define VIEW_HOST_ORDERS    5
#define VIEW_SESSION_ORDERS 4

/* One for each column, ending with one without a name. */
extern const struct view_order view_host_columns[], view_session_columns[];

/* Only letters and digits are compared, ignoring case. NULL: no such column. */
const struct view_order *view_find_column(const struct view_order *columns, const char *name);

/* At most `most` lines; the last one then says how many problems are left out. */
void view_problems(FILE *out, const json_t *status, const struct look *look, size_t most);
void view_summary(FILE *out, const json_t *status, const struct look *look);
void view_pools(FILE *out, const json_t *status, const struct look *look);
void view_listeners(FILE *out, const json_t *status, const struct look *look);
void view_hosts(FILE *out, const json_t *status, const struct look *look,
                const struct view_order *order);
void view_sessions(FILE *out, const json_t *status, const struct look *look,
                   const struct view_order *order);

#endif
