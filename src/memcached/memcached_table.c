/* SPDX-License-Identifier: ISC */
/* The table of commands: what is not in it is unknown, and none of it reaches the upstream.
 *
 * Text commands have a row for each form of their arguments. memcached_row.arguments are words that
 * must appear literally, and these, which say what the word in their place must be:
 *
 *     %u  an unsigned number of 32 bits     %f  a decimal fraction
 *     %i  a signed one                      %w  any word
 *     %n  at the end: there may be noreply  %*  at the end: any words
 *
 * They are exact, since newer servers accept the beginning of some for the whole. */
#include "memcached/memcached_internal.h"

enum {
    READ = MEMCACHED_READ,
    OPENS = MEMCACHED_OPENS,
    QUIT = MEMCACHED_QUIT,
    BARRIER = MEMCACHED_BARRIER,
    QUIET = MEMCACHED_QUIET,
    VALUED = MEMCACHED_VALUED
};

#define KEYED(n, f, r, t)                                                                          \
    {                                                                                              \
        .name = (n), .name_length = sizeof(n) - 1, .form = FORM_##f, .reply = MEMCACHED_##r,       \
        .traits = (t)                                                                              \
    }
#define WORDS(n, a, r, t)                                                                          \
    {                                                                                              \
        .name = (n), .name_length = sizeof(n) - 1, .arguments = (a), .form = FORM_WORDS,           \
        .reply = MEMCACHED_##r, .traits = (t)                                                      \
    }

/* The frequent ones first; rows with the same name together. */
const struct memcached_row memcached_text_rows[] = {
    [ROW_GET] = KEYED("get", KEYS, VALUES, READ),
    [ROW_SET] = KEYED("set", STORE, LINE, VALUED),
    [ROW_GETS] = KEYED("gets", KEYS, VALUES, READ),
    KEYED("mg", META, META, 0), /* may take a win token, or set a time */
    KEYED("ms", META_STORE, META, VALUED),
    WORDS("mn", "", MN, BARRIER),
    KEYED("delete", DELETE, LINE, 0),
    KEYED("incr", ARITHMETIC, LINE, 0),
    KEYED("decr", ARITHMETIC, LINE, 0),
    KEYED("add", STORE, LINE, VALUED),
    KEYED("cas", CAS, LINE, VALUED),
    KEYED("replace", STORE, LINE, VALUED),
    KEYED("append", STORE, LINE, VALUED),
    KEYED("prepend", STORE, LINE, VALUED),
    KEYED("touch", TOUCH, LINE, 0),
    KEYED("gat", TOUCH_KEYS, VALUES, 0),
    KEYED("gats", TOUCH_KEYS, VALUES, 0),
    KEYED("md", META, META, 0),
    KEYED("ma", META, META, 0),
    KEYED("me", META_DEBUG, META, 0),
    WORDS("version", "", VERSION, 0),
    WORDS("quit", "", NONE, QUIT),
    WORDS("stats", "", STATS, 0),
    WORDS("stats", "settings", STATS, 0),
    WORDS("stats", "items", STATS, 0),
    WORDS("stats", "slabs", STATS, 0),
    WORDS("stats", "sizes", STATS, 0),
    WORDS("stats", "conns", STATS, 0),
    WORDS("stats", "extstore", STATS, 0),
    WORDS("stats", "proxy", STATS, 0),
    WORDS("stats", "proxyfuncs", STATS, 0),
    WORDS("stats", "proxybe", STATS, 0),
    /* These show keys unencoded, with line ends in them if a binary client stored such keys. */
    WORDS("stats", "cachedump %u %u", STATS, OPENS),
    WORDS("stats", "detail dump", STATS, OPENS),
    WORDS("stats", "detail on", LINE, 0),
    WORDS("stats", "detail off", LINE, 0),
    WORDS("stats", "reset", LINE, 0),
    WORDS("stats", "sizes_enable", SIZES, 0),
    WORDS("stats", "sizes_disable", SIZES, 0),
    WORDS("flush_all", "%n", LINE, 0),
    WORDS("flush_all", "%i %n", LINE, 0),
    WORDS("verbosity", "%u %n", LINE, 0),
    WORDS("cache_memlimit", "%u %n", LINE, 0),
    WORDS("slabs", "reassign %i %i", LINE, 0),
    WORDS("slabs", "automove %u", LINE, 0),
    WORDS("slabs", "automove ratio %f", LINE, 0),
    WORDS("lru", "mode flat", LINE, 0),
    WORDS("lru", "mode segmented", LINE, 0),
    WORDS("lru", "tune %u %u %f %f", LINE, 0),
    WORDS("lru", "temp_ttl %i", LINE, 0),
    WORDS("lru_crawler", "enable", LINE, 0),
    WORDS("lru_crawler", "disable", LINE, 0),
    WORDS("lru_crawler", "crawl %w", LINE, 0),
    WORDS("lru_crawler", "tocrawl %u", LINE, 0),
    WORDS("lru_crawler", "sleep %u", LINE, 0),
    WORDS("lru_crawler", "metadump %w", LINE, OPENS),
    WORDS("lru_crawler", "mgdump %w", LINE, OPENS),
    WORDS("watch", "%*", LINE, OPENS),
    WORDS("shutdown", "", LINE, OPENS),
    WORDS("shutdown", "graceful", LINE, OPENS),
    WORDS("extstore", "free_memchunks %u %u", LINE, 0),
    WORDS("extstore", "item_size %u", LINE, 0),
    WORDS("extstore", "item_age %u", LINE, 0),
    WORDS("extstore", "low_ttl %u", LINE, 0),
    WORDS("extstore", "recache_rate %u", LINE, 0),
    WORDS("extstore", "compact_under %u", LINE, 0),
    WORDS("extstore", "drop_under %u", LINE, 0),
    WORDS("extstore", "max_sleep %u", LINE, 0),
    WORDS("extstore", "max_frag %f", LINE, 0),
    WORDS("extstore", "drop_unread %u", LINE, 0),
    WORDS("refresh_certs", "", LINE, 0),
    WORDS("debugtime", "%w", LINE, 0),
};

static bool has_name(const struct memcached_row *row, const char *name, size_t length)
{
    if (row->name_length != length)
        return false;
    for (size_t i = 0; i < length; i++) /* most are short, and differ at once */
        if (row->name[i] != name[i])
            return false;
    return true;
}

static const struct memcached_row *const text_end =
    memcached_text_rows + ARRAY_LEN(memcached_text_rows);

const struct memcached_row *memcached_row_find(const char *name, size_t length)
{
    for (const struct memcached_row *row = memcached_text_rows; row < text_end; row++)
        if (has_name(row, name, length))
            return row;
    return NULL;
}

const struct memcached_row *memcached_row_next(const struct memcached_row *row)
{
    const struct memcached_row *next = row + 1;

    return next < text_end && has_name(next, row->name, row->name_length) ? next : NULL;
}

#define PACKET(n, x, k, r, t)                                                                      \
    {                                                                                              \
        .name = (n), .form = (x), .key = KEY_##k, .reply = MEMCACHED_##r, .traits = (t)            \
    }

/* By opcode. The extras of flush may be missing. Servers do not know VERBOSITY (0x1b) either, and
 * the missing ones after it were never commands of a cache. */
static const struct memcached_row binary_rows[256] = {
    [0x00] = PACKET("GET", 0, NEEDED, PACKET, READ),
    [0x01] = PACKET("SET", 8, NEEDED, PACKET, VALUED),
    [0x02] = PACKET("ADD", 8, NEEDED, PACKET, VALUED),
    [0x03] = PACKET("REPLACE", 8, NEEDED, PACKET, VALUED),
    [0x04] = PACKET("DELETE", 0, NEEDED, PACKET, 0),
    [0x05] = PACKET("INCREMENT", 20, NEEDED, PACKET, 0),
    [0x06] = PACKET("DECREMENT", 20, NEEDED, PACKET, 0),
    [0x07] = PACKET("QUIT", 0, NONE, PACKET, QUIT),
    [MEMCACHED_OPCODE_FLUSH] = PACKET("FLUSH", 4, NONE, PACKET, 0),
    [0x09] = PACKET("GETQ", 0, NEEDED, PACKET, READ | QUIET),
    [MEMCACHED_OPCODE_NOOP] = PACKET("NOOP", 0, NONE, PACKET, BARRIER),
    [0x0b] = PACKET("VERSION", 0, NONE, PACKET, 0),
    [0x0c] = PACKET("GETK", 0, NEEDED, PACKET, READ),
    [0x0d] = PACKET("GETKQ", 0, NEEDED, PACKET, READ | QUIET),
    [0x0e] = PACKET("APPEND", 0, NEEDED, PACKET, VALUED),
    [0x0f] = PACKET("PREPEND", 0, NEEDED, PACKET, VALUED),
    [MEMCACHED_OPCODE_STAT] = PACKET("STAT", 0, OPTIONAL, STAT_PACKETS, 0),
    [0x11] = PACKET("SETQ", 8, NEEDED, PACKET, VALUED | QUIET),
    [0x12] = PACKET("ADDQ", 8, NEEDED, PACKET, VALUED | QUIET),
    [0x13] = PACKET("REPLACEQ", 8, NEEDED, PACKET, VALUED | QUIET),
    [0x14] = PACKET("DELETEQ", 0, NEEDED, PACKET, QUIET),
    [0x15] = PACKET("INCREMENTQ", 20, NEEDED, PACKET, QUIET),
    [0x16] = PACKET("DECREMENTQ", 20, NEEDED, PACKET, QUIET),
    [0x17] = PACKET("QUITQ", 0, NONE, PACKET, QUIT | QUIET),
    [MEMCACHED_OPCODE_FLUSHQ] = PACKET("FLUSHQ", 4, NONE, PACKET, QUIET),
    [0x19] = PACKET("APPENDQ", 0, NEEDED, PACKET, VALUED | QUIET),
    [0x1a] = PACKET("PREPENDQ", 0, NEEDED, PACKET, VALUED | QUIET),
    [0x1c] = PACKET("TOUCH", 4, NEEDED, PACKET, 0),
    [0x1d] = PACKET("GAT", 4, NEEDED, PACKET, 0),
    [0x1e] = PACKET("GATQ", 4, NEEDED, PACKET, QUIET),
    [0x20] = PACKET("SASL_LIST_MECHS", 0, NONE, PACKET, OPENS),
    [0x21] = PACKET("SASL_AUTH", 0, NEEDED, PACKET, OPENS | VALUED),
    [0x22] = PACKET("SASL_STEP", 0, NEEDED, PACKET, OPENS | VALUED),
    [0x23] = PACKET("GATK", 4, NEEDED, PACKET, 0),
    [0x24] = PACKET("GATKQ", 4, NEEDED, PACKET, QUIET),
};

const struct memcached_row *memcached_row_of_opcode(uint8_t opcode)
{
    const struct memcached_row *row = &binary_rows[opcode];

    return row->name ? row : NULL;
}
