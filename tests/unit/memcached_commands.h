/* SPDX-License-Identifier: ISC */
/* Text commands, valid and invalid. The first column is the rule of FRAMED. */
#ifndef KAPROXY_MEMCACHED_COMMANDS_H
#define KAPROXY_MEMCACHED_COMMANDS_H

#include "memcached/memcached.h"

/* What a client sends, and the expected outcome of the first command. */
struct memcached_case {
    const char *rule; /* of FRAMED */
    const char *text;
    size_t length;
    enum memcached_result result;
    enum memcached_framing reply;
    unsigned traits;
    bool quiet;
    uint32_t value;
    const char *error;
    bool close;
    uint64_t swallow;
};

#define CASE(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define TEXT(r, t) .rule = (r), .text = (t), .length = sizeof(t) - 1
#define PASS(r, t, f, k)                                                                           \
    CASE(TEXT(r, t), .result = MEMCACHED_DONE, .reply = MEMCACHED_##f, .traits = (k))
#define QUIET(r, t, f, k)                                                                          \
    CASE(TEXT(r, t), .result = MEMCACHED_DONE, .reply = MEMCACHED_##f, .traits = (k), .quiet = true)
#define STORE(r, t, f, v)                                                                          \
    CASE(TEXT(r, t), .result = MEMCACHED_DONE, .reply = MEMCACHED_##f, .traits = MEMCACHED_VALUED, \
         .value = (v))
#define STORE_QUIET(r, t, f, v)                                                                    \
    CASE(TEXT(r, t), .result = MEMCACHED_DONE, .reply = MEMCACHED_##f, .traits = MEMCACHED_VALUED, \
         .value = (v), .quiet = true)
#define FAIL(r, t, e)       CASE(TEXT(r, t), .result = MEMCACHED_BAD, .error = (e))
#define SWALLOW(r, t, e, s) CASE(TEXT(r, t), .result = MEMCACHED_BAD, .error = (e), .swallow = (s))
#define SWALLOW_QUIET(r, t, e, s)                                                                  \
    CASE(TEXT(r, t), .result = MEMCACHED_BAD, .error = (e), .swallow = (s), .quiet = true)
#define CLOSE(r, t, e) CASE(TEXT(r, t), .result = MEMCACHED_BAD, .error = (e), .close = true)
#define CLOSE_QUIET(r, t, e)                                                                       \
    CASE(TEXT(r, t), .result = MEMCACHED_BAD, .error = (e), .close = true, .quiet = true)
#define MORE(r, t) CASE(TEXT(r, t), .result = MEMCACHED_MORE)

#define ERROR  "ERROR"
#define FORMAT "CLIENT_ERROR bad command line format"
#define R      MEMCACHED_READ
#define K50    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define K250   K50 K50 K50 K50 K50
#define B40    "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
#define B248   B40 B40 B40 B40 B40 B40 "QUFBQUFB"
#define O31    "1234567890123456789012345678901"

static const struct memcached_case memcached_commands[] = {
    /* Reading. */
    PASS("F4", "get a\r\n", VALUES, R),
    PASS("F4", "gets a b c\r\n", VALUES, R),
    PASS("M5", "get a \r\n", VALUES, R),
    PASS("M5", "get  a   b  \r\n", VALUES, R),
    PASS("M5", "get a\n", VALUES, R),
    PASS("M5", "get " K250 " " K250 "\r\n", VALUES, R),
    PASS("M5", "get \x80\xff\r\n", VALUES, R),
    PASS("M5", "get noreply a\r\n", VALUES, R),
    MORE("F7", ""),
    MORE("F7", "g"),
    MORE("F7", "get"),
    MORE("F7", "get "),
    MORE("F7", "get a"),
    MORE("F7", "get a\r"),
    MORE("F7", "get " K250 "\r"),
    FAIL("M5", "get a noreply\r\n", ERROR),
    FAIL("M5", "get noreply \r\n", ERROR),
    FAIL("M5", "get\r\n", ERROR),
    FAIL("M5", "get \r\n", ERROR),
    FAIL("M5", "get  \n", ERROR),
    FAIL("M5", "gets\n", ERROR),
    FAIL("M5", "get k" K250 "\r\n", FORMAT),
    FAIL("M5", "get a k" K250 " b\r\n", FORMAT),
    MORE("M5", "get a k" K250 " b"),
    MORE("M5", "get k" K250),
    FAIL("M5", "get a\tb\r\n", FORMAT),
    FAIL("M5", "get a\rb\r\n", FORMAT),
    FAIL("M5", "get a\r\r\n", FORMAT),
    FAIL("M5", "get a\0b\r\n", FORMAT),
    FAIL("M5", "get a \x7f\r\n", FORMAT),
    FAIL("M5", "get \r \r\n", FORMAT),
    FAIL("M5", "get\ta\r\n", ERROR),
    FAIL("M5", "GET a\r\n", ERROR),
    FAIL("M5", " get a\r\n", ERROR),
    FAIL("M5", "bget a\r\n", ERROR),
    FAIL("M5", "getx a\r\n", ERROR),
    FAIL("M5", "ge a\r\n", ERROR),
    FAIL("M5", "\r\n", ERROR),
    FAIL("M5", "\n", ERROR),
    FAIL("M5", " \r\n", ERROR),
    FAIL("M5", "\r\r\n", ERROR),
    FAIL("M5", "get\0a\r\n", ERROR),
    PASS("F4", "gat 0 a\r\n", VALUES, 0),
    PASS("F4", "gats -1 a b c\r\n", VALUES, 0),
    PASS("M5", "gat 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 \r\n",
         VALUES, 0),
    FAIL("M5", "gat 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 k" K250 "\r\n",
         FORMAT),
    FAIL("M5", "gat 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 a\tb\r\n",
         FORMAT),
    FAIL("M5", "gat 0\r\n", ERROR),
    FAIL("M5", "gat\r\n", ERROR),
    FAIL("M5", "gat x a\r\n", "CLIENT_ERROR invalid exptime argument"),
    FAIL("M5", "gat 0 k" K250 "\r\n", FORMAT),

    /* Storing. */
    STORE("M5", "set a 0 0 2\r\n", LINE, 2),
    STORE("M5", "set a 0 0 2\r\nmn\r\nmn\r\n", LINE, 2),
    STORE("M5", "set a 0 0 2 \r\n", LINE, 2),
    STORE("M5", "set  a  0  0  2\n", LINE, 2),
    STORE("M5", "add a 0 0 0\r\n", LINE, 0),
    STORE("M5", "replace a 4294967295 2147483647 1073741824\r\n", LINE, 1073741824),
    STORE("M5", "append a 0 -2147483648 02\r\n", LINE, 2),
    STORE("M5", "prepend " K250 " 0 0 2\r\n", LINE, 2),
    STORE("M5", "cas a 0 0 2 18446744073709551615\r\n", LINE, 2),
    STORE_QUIET("M2", "set a 0 0 2 noreply\r\n", NONE, 2),
    STORE_QUIET("M2", "cas a 0 0 2 1 noreply \r\n", NONE, 2),
    MORE("M5", "set a 0 0 2\r"),
    MORE("M5", "set a"),
    CLOSE("M5", "set a 0 0 2 x\r\n", ERROR),
    SWALLOW("M5", "set a 4294967296 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a -1 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a +1 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a 0x1 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a 00000000001 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a 0 2147483648 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a 0 -2147483649 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a 0 - 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a 0 +1 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set k" K250 " 0 0 2\r\nmn\r\n", FORMAT, 4),
    SWALLOW("M5", "set a\tb 0 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a\0b 0 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", "set a\rb 0 0 2\r\n", FORMAT, 4),
    SWALLOW("M5", " set a 0 0 2\r\n", ERROR, 4),
    SWALLOW("M5", "cas a 0 0 2 x\r\n", FORMAT, 4),
    SWALLOW("M5", "cas a 0 0 2 18446744073709551616\r\n", FORMAT, 4),
    SWALLOW("M5", "cas a 0 0 2 -1\r\n", FORMAT, 4),
    SWALLOW_QUIET("M5", "cas a 0 0 2 noreply\r\n", FORMAT, 4),
    SWALLOW_QUIET("M5", "set k" K250 " 0 0 2 noreply\r\n", FORMAT, 4),
    SWALLOW("F7", "set a 0 0 1073741825\r\n", "SERVER_ERROR object too large for cache",
            1073741827),
    SWALLOW("F7", "set a 0 0 2147483645\r\n", "SERVER_ERROR object too large for cache",
            2147483647),
    CLOSE("M5", "set a 0 0 2147483646\r\n", FORMAT),
    CLOSE("M5", "set a 0 0 4294967298\r\n", FORMAT),
    CLOSE("M5", "set a 0 0 -2\r\n", FORMAT),
    CLOSE("M5", "set a 0 0 +2\r\n", FORMAT),
    CLOSE("M5", "set a 0 0 2\t\r\n", FORMAT),
    CLOSE("M5", "set a 0 0 2\r\r\n", FORMAT),
    CLOSE("M5", "set a b 0 0 2 \r\n", ERROR),
    CLOSE("M5", "set a b c 0 0 2 \r\n", ERROR),
    CLOSE("M5", "set a 0 0\r\n", ERROR),
    CLOSE("M5", "set\r\n", ERROR),
    CLOSE("M5", "cas a 0 0 2\r\n", ERROR),
    CLOSE("M5", "cas a 0 0 2 1 noreply x\r\n", ERROR),
    CLOSE_QUIET("M5", "set a 0 0 noreply\r\n", FORMAT),
    FAIL("M5", "SET a 0 0 2\r\n", ERROR),

    /* Other classic commands. */
    PASS("M1", "delete a\r\n", LINE, 0),
    PASS("M5", "delete a 0\r\n", LINE, 0),
    QUIET("M2", "delete a noreply\r\n", NONE, 0),
    QUIET("M2", "delete a 0 noreply\r\n", NONE, 0),
    CASE(TEXT("M5", "delete noreply\r\n"), .result = MEMCACHED_BAD, .error = ERROR, .quiet = true),
    CASE(TEXT("M5", "delete a noreply noreply\r\n"), .result = MEMCACHED_BAD, .quiet = true,
         .error = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"),
    FAIL("M5", "delete a 1\r\n",
         "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"),
    FAIL("M5", "delete\r\n", ERROR),
    FAIL("M5", "delete k" K250 "\r\n", FORMAT),
    PASS("M1", "incr a 18446744073709551615\r\n", LINE, 0),
    QUIET("M2", "decr a 1 noreply\r\n", NONE, 0),
    FAIL("M5", "incr a 18446744073709551616\r\n", "CLIENT_ERROR invalid numeric delta argument"),
    FAIL("M5", "incr a -1\r\n", "CLIENT_ERROR invalid numeric delta argument"),
    FAIL("M5", "incr a 1 x\r\n", ERROR),
    FAIL("M5", "incr a\r\n", ERROR),
    FAIL("M5", "incr a 1 noreply x\r\n", ERROR),
    FAIL("M5", "incr a noreply\r\n", "CLIENT_ERROR invalid numeric delta argument"),
    PASS("M1", "touch a -1\r\n", LINE, 0),
    QUIET("M2", "touch a 0 noreply\r\n", NONE, 0),
    FAIL("M5", "touch a x\r\n", "CLIENT_ERROR invalid exptime argument"),
    PASS("M1", "flush_all\r\n", LINE, 0),
    PASS("M1", "flush_all 10\r\n", LINE, 0),
    QUIET("M2", "flush_all noreply\r\n", NONE, 0),
    QUIET("M2", "flush_all 0 noreply\r\n", NONE, 0),
    FAIL("M5", "flush_all x\r\n", ERROR),
    FAIL("M5", "flush_all 0 x\r\n", ERROR),
    CASE(TEXT("M5", "flush_all noreply x\r\n"), .result = MEMCACHED_BAD, .error = ERROR),
    QUIET("M2", "verbosity 0 noreply\r\n", NONE, 0),
    PASS("M1", "cache_memlimit 64\r\n", LINE, 0),
    PASS("M1", "version\r\n", VERSION, 0),
    FAIL("M5", "version x\r\n", ERROR),
    PASS("F6", "quit\r\n", NONE, MEMCACHED_QUIT),
    PASS("F6", "quit\n", NONE, MEMCACHED_QUIT),
    FAIL("M5", "quit x\r\n", ERROR),
    FAIL("M5", "misbehave\r\n", ERROR),
    PASS("M1", "slabs reassign -1 2\r\n", LINE, 0),
    PASS("M1", "slabs automove ratio 0.8\r\n", LINE, 0),
    FAIL("M5", "slabs automove 0 noreply\r\n", ERROR),
    FAIL("M5", "slabs automove ratio 0.x\r\n", ERROR),
    FAIL("M5", "slabs automove ratio .8\r\n", ERROR),
    FAIL("M5", "slab automove 0\r\n", ERROR),
    PASS("M1", "lru tune 10 25 0.1 2.0\r\n", LINE, 0),
    FAIL("M5", "lru tune 10 25 0.1\r\n", ERROR),
    PASS("M1", "lru_crawler crawl 1,2,3\r\n", LINE, 0),
    FAIL("M5", "lru_crawler crawl\r\n", ERROR),
    FAIL("M5", "lru_crawler meta all\r\n", ERROR),
    PASS("M1", "extstore max_frag 0.8\r\n", LINE, 0),
    PASS("M1", "refresh_certs\r\n", LINE, 0),
    PASS("M1", "debugtime p\r\n", LINE, 0),

    /* Statistics. */
    PASS("M1", "stats\r\n", STATS, 0),
    PASS("M1", "stats \r\n", STATS, 0),
    PASS("M1", "stats items\r\n", STATS, 0),
    PASS("M1", "stats detail on\r\n", LINE, 0),
    PASS("M1", "stats  detail  off\r\n", LINE, 0),
    PASS("M1", "stats reset\r\n", LINE, 0),
    PASS("M1", "stats sizes\r\n", STATS, 0),
    PASS("M1", "stats sizes_enable\r\n", SIZES, 0),
    FAIL("M5", "stats sizes_e\r\n", ERROR),
    FAIL("M5", "stats noreply\r\n", ERROR),
    FAIL("M5", "stats detail\r\n", ERROR),
    FAIL("M5", "stats settings noreply\r\n", ERROR),
    FAIL("M5", "stats 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24\r\n", ERROR),

    /* Connections that belong to one client. */
    PASS("M4", "stats cachedump 1 100\r\n", STATS, MEMCACHED_OPENS),
    PASS("M4", "stats detail dump\r\n", STATS, MEMCACHED_OPENS),
    PASS("M4", "watch\r\n", LINE, MEMCACHED_OPENS),
    PASS("M4", "watch fetchers mutations\r\n", LINE, MEMCACHED_OPENS),
    PASS("M4", "lru_crawler metadump all\r\n", LINE, MEMCACHED_OPENS),
    PASS("M4", "lru_crawler mgdump 1\r\n", LINE, MEMCACHED_OPENS),
    PASS("M4", "shutdown\r\n", LINE, MEMCACHED_OPENS),
    PASS("M4", "shutdown graceful\r\n", LINE, MEMCACHED_OPENS),
    FAIL("M4", "watc\r\n", ERROR),

    /* Meta commands. */
    PASS("M2", "mn\r\n", MN, MEMCACHED_BARRIER),
    PASS("M2", "mn \r\n", MN, MEMCACHED_BARRIER),
    FAIL("M2", "mn\n", ERROR),
    FAIL("M2", "mn x\r\n", ERROR),
    FAIL("M5", "mx a\r\n", ERROR),
    PASS("F4", "mg a\r\n", META, 0),
    PASS("M1", "mg a v t f c k O" O31 "\r\n", META, 0),
    QUIET("M2", "mg a v q\r\n", META, 0),
    PASS("M1", "mg a N30 R-1 T0 Z W E18446744073709551615\r\n", META, 0),
    PASS("M1", "mg " B248 " b\r\n", META, 0),
    PASS("M1", "mg YQ== b k\r\n", META, 0),
    PASS("M1", "mg YQo= b v\r\n", META, 0),
    FAIL("M2", "mg YQo= b k\r\n", FORMAT),
    FAIL("M2", "mg Cg== k b\r\n", FORMAT),
    FAIL("M2", "mg YWEKYWE= b kx\r\n", FORMAT),
    FAIL("M2", "mg DWFh k b\r\n", FORMAT),
    FAIL("M2", "mg YWEN k b\r\n", FORMAT),
    FAIL("M5", "mg\r\n", ERROR),
    FAIL("M5", "mg k" K250 " v\r\n", FORMAT),
    FAIL("M5", "mg a v v\r\n", "CLIENT_ERROR duplicate flag"),
    FAIL("M5", "mg a 5\r\n", "CLIENT_ERROR invalid flag"),
    FAIL("M5", "mg a bx\r\n", "CLIENT_ERROR invalid flag"),
    FAIL("M5", "mg a qx\r\n", "CLIENT_ERROR invalid flag"),
    FAIL("M5", "mg a \xff\r\n", "CLIENT_ERROR invalid flag"),
    FAIL("M5", "mg a T\r\n", "CLIENT_ERROR bad token in command line format"),
    FAIL("M5", "mg a Tx q\r\n", "CLIENT_ERROR bad token in command line format"),
    FAIL("M5", "mg a F-1\r\n", "CLIENT_ERROR bad token in command line format"),
    FAIL("M5", "mg a O" O31 "2\r\n", "CLIENT_ERROR opaque token too long"),
    FAIL("M5", "mg YQ b\r\n", "CLIENT_ERROR error decoding key"),
    FAIL("M5", "mg Y!== b\r\n", "CLIENT_ERROR error decoding key"),
    FAIL("M5", "mg Y=Q= b\r\n", "CLIENT_ERROR error decoding key"),
    QUIET("M5", "mg a N1 T1 R1 k s t c f l h v u O P L I q\r\n", META, 0),
    FAIL("M5", "mg a N1 T1 R1 k s t c f l h v u O P L I q F1\r\n",
         "CLIENT_ERROR options flags are too long"),
    PASS("M1", "md a I T30 C1\r\n", META, 0),
    QUIET("M2", "md a q\r\n", META, 0),
    PASS("M1", "ma a N0 J5 D2 MI v\r\n", META, 0),
    FAIL("M5", "ma a Dx\r\n", "CLIENT_ERROR bad token in command line format"),
    FAIL("M5", "ma a M\r\n", "CLIENT_ERROR incorrect length for M token"),
    PASS("M1", "me a\r\n", META, 0),
    PASS("M1", "me YQ== b\r\n", META, 0),
    FAIL("M2", "me YQo= b\r\n", FORMAT),
    FAIL("M5", "me a x\r\n", FORMAT),
    FAIL("M5", "me a b\r\n", "CLIENT_ERROR error decoding key"),
    FAIL("M5", "me a b b\r\n", FORMAT),
    FAIL("M5", "me\r\n", ERROR),
    STORE("M1", "ms a 2\r\n", META, 2),
    STORE("M1", "ms a 2 T0 F5 c MS\r\n", META, 2),
    STORE("M1", "ms YQ== 2 b\r\n", META, 2),
    STORE_QUIET("M2", "ms a 2 q\r\n", META, 2),
    STORE("M5", "ms a 2 N1 T1 R1 k s t c f l h v u O P L I\r\n", META, 2),
    SWALLOW("M5", "ms a 2 N1 T1 R1 k s t c f l h v u O P L I q\r\n",
            "CLIENT_ERROR options flags are too long", 4),
    SWALLOW("M5", "ms k" K250 " 2\r\n", FORMAT, 4),
    SWALLOW("M5", "ms a 2 Tx q\r\n", "CLIENT_ERROR bad token in command line format", 4),
    SWALLOW("M5", "ms a 2 MSS\r\n", "CLIENT_ERROR incorrect length for M token", 4),
    SWALLOW("M5", "ms a 2 b\r\n", "CLIENT_ERROR error decoding key", 4),
    SWALLOW("M5", " ms a 2\r\n", ERROR, 4),
    SWALLOW("M5", "ms a\tb 2\r\n", FORMAT, 4),
    CLOSE("M5", "ms a S2\r\n", FORMAT),
    CLOSE("M5", "ms a -1\r\n", FORMAT),
    CLOSE("M5", "ms a\r\n", FORMAT),
    CLOSE("M5", "ms\r\n", ERROR),
};

#endif
