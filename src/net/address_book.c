/* SPDX-License-Identifier: ISC */
/* Remembers a name's addresses, and how many consecutive answers lacked each. */
#include "net/address_book.h"

#include <stdlib.h>

static size_t index_of(const union address *addresses, size_t count, const union address *address)
{
    size_t i = 0;
    while (i < count && address_compare(&addresses[i], address) != 0)
        i++;
    return i;
}

const struct address_entry *address_book_find(const struct address_book *book,
                                              const union address *address)
{
    for (size_t i = 0; i < book->count; i++) {
        if (address_compare(&book->entries[i].address, address) == 0)
            return &book->entries[i];
    }
    return NULL;
}

/* Records whether an entry is in its family's answer. Returns whether nothing has changed. */
static bool is_as_before(struct address_entry *entry, const union address *addresses, size_t count,
                         usec_t now)
{
    bool was_missing = entry->missed > 0;
    entry->rank = index_of(addresses, count, &entry->address);
    if (entry->rank < count) {
        entry->missed = 0;
        return !was_missing;
    }
    if (!was_missing)
        entry->missing_since = now;
    entry->missed++;
    return false;
}

/* The slot for another entry; NULL: there is none. */
static struct address_entry *make_room(struct address_book *book)
{
    struct address_entry *oldest = NULL;
    if (book->count < ADDRESS_BOOK_MAX)
        return &book->entries[book->count++];
    for (size_t i = 0; i < book->count; i++) {
        struct address_entry *entry = &book->entries[i];
        if (entry->missed > 0 && (oldest == NULL || entry->missing_since < oldest->missing_since))
            oldest = entry;
    }
    return oldest;
}

/* Adds what the family did not have before. Returns whether there was any. */
static bool add_new(struct address_book *book, sa_family_t family, const union address *addresses,
                    size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (addresses[i].sa.sa_family != family || address_book_find(book, &addresses[i]) != NULL)
            continue;
        struct address_entry *entry = make_room(book);
        if (entry == NULL)
            break;
        *entry = (struct address_entry){.address = addresses[i], .rank = i};
        any = true;
    }
    return any;
}

static void drop_gone(struct address_book *book, usec_t now)
{
    size_t kept = 0;
    for (size_t i = 0; i < book->count; i++) {
        const struct address_entry *entry = &book->entries[i];
        if (entry->missed < ADDRESS_GONE_ANSWERS || now - entry->missing_since < ADDRESS_GONE_TIME)
            book->entries[kept++] = *entry;
    }
    book->count = kept;
}

static int compare_ranks(const void *a, const void *b)
{
    const struct address_entry *left = a, *right = b;
    if (left->rank == right->rank)
        return 0;
    return left->rank < right->rank ? -1 : 1;
}

bool address_book_note(struct address_book *book, sa_family_t family,
                       const union address *addresses, size_t count, usec_t now)
{
    bool changed = false;
    for (size_t i = 0; i < book->count; i++) {
        struct address_entry *entry = &book->entries[i];
        if (entry->address.sa.sa_family == family && !is_as_before(entry, addresses, count, now))
            changed = true;
    }
    if (add_new(book, family, addresses, count))
        changed = true;
    drop_gone(book, now);
    qsort(book->entries, book->count, sizeof(book->entries[0]), compare_ranks);
    return changed;
}

size_t address_book_list(const struct address_book *book, sa_family_t family,
                         union address *addresses)
{
    size_t count = 0;
    for (size_t i = 0; i < book->count; i++) {
        const struct address_entry *entry = &book->entries[i];
        if (entry->missed == 0 && entry->address.sa.sa_family == family)
            addresses[count++] = entry->address;
    }
    return count;
}

bool address_book_lacks(const struct address_book *book)
{
    for (size_t i = 0; i < book->count; i++) {
        if (book->entries[i].missed > 0)
            return true;
    }
    return false;
}
