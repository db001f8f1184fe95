/* SPDX-License-Identifier: ISC */
/* The search list of resolv.conf(5): which full names a name may stand for, and in what order.
 * c-ares knows it as well, but goes through it for each of its queries without telling where it
 * is, so that A and AAAA records of different names would come together. */
#ifndef KAPROXY_SEARCH_LIST_H
#define KAPROXY_SEARCH_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/* Longer ones are no names: they are cut, and c-ares refuses them. */
#define SEARCH_NAME_MAX 512

struct search_list {
    char *domains; /* separated by whitespace; NULL: none */
    unsigned ndots;
};

/* Reads the file, LOCALDOMAIN and RES_OPTIONS; a file that is not there says nothing. Without a
 * domain in either, that of this machine's name counts. 0, or -1 with errno (out of memory or of
 * descriptors); then there is nothing to clear. */
MUST_CHECK int search_list_read(struct search_list *list, const char *file);
void search_list_clear(struct search_list *list);

/* Writes the full name, with its final dot, that is to be tried in this place, from 0 on. false:
 * there are no more. */
bool search_list_name(const struct search_list *list, const char *name, size_t place,
                      char full[SEARCH_NAME_MAX]);

#endif
