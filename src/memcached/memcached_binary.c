/* SPDX-License-Identifier: ISC */
/* The binary protocol's packets. */
#include "memcached/memcached_internal.h"

/* The error's text, as servers send it. */
static enum memcached_result refuse(struct memcached_command *command, uint16_t status, bool close)
{
    command->status = status;
    command->close = close;
    if (status == MEMCACHED_STATUS_UNKNOWN)
        return memcached_refuse(command, "Unknown command");
    if (status == MEMCACHED_STATUS_TOO_LARGE)
        return memcached_refuse(command, "Too large.");
    return memcached_refuse(command, "Invalid arguments");
}

/* Do extras, key and value have the lengths that the command requires? */
static bool lengths_fit(const struct memcached_row *row, uint8_t opcode, uint8_t extras,
                        uint16_t key, uint32_t value)
{
    bool flush = opcode == MEMCACHED_OPCODE_FLUSH || opcode == MEMCACHED_OPCODE_FLUSHQ;

    if (extras != row->form && !(flush && extras == 0))
        return false;
    if (row->key == KEY_OPTIONAL ? key > MEMCACHED_KEY_MAX : (key > 0) != (row->key == KEY_NEEDED))
        return false;
    return value == 0 || row->traits & MEMCACHED_VALUED;
}

/* Some statistics have a framing of their own. */
static bool is_sizes(const char *key, size_t length)
{
    return (length == strlen("sizes_enable") && memcmp(key, "sizes_enable", length) == 0) ||
           (length == strlen("sizes_disable") && memcmp(key, "sizes_disable", length) == 0);
}

enum memcached_result memcached_packet_parse(struct memcached_command *command, const char *data,
                                             size_t length)
{
    if ((unsigned char)data[0] != MAGIC_COMMAND)
        return refuse(command, MEMCACHED_STATUS_INVALID, true);
    if (length < MEMCACHED_HEAD_SIZE)
        return MEMCACHED_MORE;

    uint16_t key = memcached_read_u16(data + 2);
    uint8_t extras = (uint8_t)data[4];
    uint32_t body = memcached_read_u32(data + 8), front = (uint32_t)key + extras;
    const struct memcached_row *row = memcached_row_of_opcode((uint8_t)data[1]);

    command->opcode = (uint8_t)data[1];
    command->row = row;
    memcpy(&command->opaque, data + 12, sizeof(command->opaque)); /* returned unmodified */
    command->length = MEMCACHED_HEAD_SIZE;
    command->value_left = body;
    if (body < front || body > INT32_MAX)
        return refuse(command, MEMCACHED_STATUS_UNKNOWN, true);
    if (!row)
        return refuse(command, MEMCACHED_STATUS_UNKNOWN, false);
    command->traits = row->traits;
    if (data[5] != 0 || key > MEMCACHED_KEY_MAX ||
        !lengths_fit(row, command->opcode, extras, key, body - front))
        return refuse(command, MEMCACHED_STATUS_INVALID, true);
    if (body - front > MEMCACHED_VALUE_MAX)
        return refuse(command, MEMCACHED_STATUS_TOO_LARGE, false);
    if (length < MEMCACHED_HEAD_SIZE + front)
        return MEMCACHED_MORE;
    command->length = MEMCACHED_HEAD_SIZE + front;
    command->value_left = command->value_length = body - front;
    command->reply = row->reply;
    command->quiet = row->traits & MEMCACHED_QUIET;
    if (command->opcode == MEMCACHED_OPCODE_STAT &&
        is_sizes(data + MEMCACHED_HEAD_SIZE + extras, key))
        command->reply = MEMCACHED_SIZES_PACKET;
    return MEMCACHED_DONE;
}

enum memcached_result memcached_head_parse(struct memcached_head *head, const char *data,
                                           size_t length)
{
    if (length > 0 && (unsigned char)data[0] != MAGIC_REPLY)
        return MEMCACHED_BAD;
    if (length < MEMCACHED_HEAD_SIZE)
        return MEMCACHED_MORE;
    head->opcode = (uint8_t)data[1];
    head->key = memcached_read_u16(data + 2);
    head->extras = (uint8_t)data[4];
    head->status = memcached_read_u16(data + 6);
    head->body = memcached_read_u32(data + 8);
    memcpy(&head->opaque, data + 12, sizeof(head->opaque));
    return head->body < (uint32_t)head->key + head->extras || head->body > INT32_MAX
               ? MEMCACHED_BAD
               : MEMCACHED_DONE;
}

/* Does another packet follow this one? */
static bool goes_on(const struct memcached_reply *reply, const struct memcached_head *head)
{
    if (head->status != MEMCACHED_STATUS_OK)
        return false;
    if (reply->expect.reply == MEMCACHED_STAT_PACKETS)
        return head->body > 0;
    /* The first packet says "sizes_status" and "error", "enabled" or "disabled": an error's reason
     * is in a second one. */
    return reply->expect.reply == MEMCACHED_SIZES_PACKET && reply->stage == REPLY_START &&
           head->body == strlen("sizes_status") + strlen("error");
}

/* INVALID, and AUTH of a server with logins, end the connection. A server that does not know a
 * command with a body may discard a different number of bytes. */
static bool is_sure(const struct memcached_reply *reply)
{
    switch (reply->status) {
    case MEMCACHED_STATUS_INVALID:
    case MEMCACHED_STATUS_AUTH:
        return false;
    case MEMCACHED_STATUS_UNKNOWN:
        return !reply->expect.has_body;
    default:
        return true;
    }
}

/* The body's bytes, which are not interpreted; they may have been skipped. */
static enum memcached_result take_body(struct memcached_reply *reply, size_t length, size_t *used)
{
    size_t piece = length < reply->left ? length : (size_t)reply->left;

    reply->left -= piece;
    *used += piece;
    if (reply->left > 0 || reply->stage == REPLY_BLOCK) {
        reply->stage = reply->left > 0 ? reply->stage : REPLY_LINES;
        return MEMCACHED_MORE;
    }
    reply->stage = REPLY_DONE;
    return MEMCACHED_DONE;
}

static enum memcached_result take_head(struct memcached_reply *reply, const char *data,
                                       size_t length, size_t *used)
{
    struct memcached_head head;
    enum memcached_result result = memcached_head_parse(&head, data, length);

    if (result != MEMCACHED_DONE)
        return result;
    if (head.opcode != reply->expect.opcode || head.opaque != reply->expect.opaque)
        return MEMCACHED_BAD;
    *used += MEMCACHED_HEAD_SIZE;
    reply->status = head.status;
    reply->is_error = head.status != MEMCACHED_STATUS_OK;
    reply->sure = is_sure(reply);
    reply->stage = goes_on(reply, &head) ? REPLY_BLOCK : REPLY_LAST_BLOCK;
    reply->left = head.body;
    return MEMCACHED_MORE;
}

enum memcached_result memcached_packets_feed(struct memcached_reply *reply, const char *data,
                                             size_t length, size_t *used)
{
    for (;;) {
        bool is_body = reply->stage == REPLY_BLOCK || reply->stage == REPLY_LAST_BLOCK;
        size_t before = *used;
        enum memcached_result result = is_body
                                           ? take_body(reply, length - before, used)
                                           : take_head(reply, data + before, length - before, used);

        if (result != MEMCACHED_MORE)
            return result;
        if (is_body ? reply->left > 0 : *used == before)
            return MEMCACHED_MORE; /* more bytes are needed */
    }
}
