/* SPDX-License-Identifier: ISC */
/* The addresses that a name had in its answers of late. Pure.
 *
 * Where DNS answers with some of many addresses in turn, an address that an answer lacks is not
 * gone: it is when none of the last ADDRESS_GONE_ANSWERS had it, over at least ADDRESS_GONE_TIME.
 * The families are answered for separately. */
#ifndef KAPROXY_ADDRESS_BOOK_H
#define KAPROXY_ADDRESS_BOOK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"
#include "net/address.h"

#define ADDRESS_GONE_ANSWERS 3
#define ADDRESS_GONE_TIME    (30 * USEC_PER_SEC)

/* So many are remembered. A new one takes the place of the one that has been missing for longest;
 * when all are in the last answers it is not taken up, and so not used. */
#define ADDRESS_BOOK_MAX 64

struct address_entry {
    union address address; /* without a port */
    size_t rank;           /* its place in the last answer */
    unsigned missed;       /* answers in a row that lacked it; 0: the last one had it */
    usec_t missing_since;  /* the first of these */
};

struct address_book {
    size_t count;
    struct address_entry entries[ADDRESS_BOOK_MAX]; /* by rank */
};

/* Takes up an answer for a family; addresses of the other one are passed over. Whether the family
 * has other addresses than before, or lacks one. */
bool address_book_note(struct address_book *book, sa_family_t family,
                       const union address *addresses, size_t count, usec_t now);

/* The addresses of the family's last answer, in its order. How many; those of both families
 * together are at most ADDRESS_BOOK_MAX. */
size_t address_book_list(const struct address_book *book, sa_family_t family,
                         union address *addresses);

/* NULL: the address is gone, or was never heard of. */
const struct address_entry *address_book_find(const struct address_book *book,
                                              const union address *address);

/* Whether any is missing. */
bool address_book_lacks(const struct address_book *book);

#endif
