/* SPDX-License-Identifier: ISC */
/* Which replies are expected (M1). */
#include <string.h>

#include "session/memcached/mc_internal.h"

static int append(struct client *client, const struct mc_entry *entry)
{
    return buffer_append(&batch_of(client)->expected, entry, sizeof(*entry));
}

int mc_expect(struct client *client, enum mc_what what, const struct memcached_expect *expect)
{
    struct mc_entry entry = {.what = (uint8_t)what, .expect = *expect};
    return append(client, &entry);
}

int mc_expect_local(struct client *client, const char *data, size_t length)
{
    struct mc_entry entry = {.what = MC_LOCAL, .length = (uint32_t)length};
    if (append(client, &entry) < 0)
        return -1;
    return length == 0 ? 0 : buffer_append(&batch_of(client)->expected, data, length);
}

bool mc_queue_next(const struct batch *batch, size_t *at, struct mc_entry *entry)
{
    if (*at == buffer_length(&batch->expected))
        return false;
    memcpy(entry, buffer_data(&batch->expected) + *at, sizeof(*entry));
    *at += sizeof(*entry) + entry->length;
    return true;
}

struct mc_entry mc_queue_front(const struct batch *batch)
{
    struct mc_entry entry;
    memcpy(&entry, buffer_data(&batch->expected), sizeof(entry));
    return entry;
}

const char *mc_queue_local(const struct batch *batch)
{
    return buffer_data(&batch->expected) + sizeof(struct mc_entry);
}

void mc_queue_pop(struct batch *batch)
{
    struct mc_entry entry = mc_queue_front(batch);
    buffer_consume(&batch->expected, sizeof(entry) + entry.length);
}
