/* SPDX-License-Identifier: ISC */
/* The commands, a list for each letter, sorted by name. */
#include "resp/resp_commands.h"

/* A name as struct resp_known's key. */
#define HAS(text, i) (sizeof(text) - 1 > (i))
#define BYTE(text, i)                                                                              \
    ((uint64_t)(HAS(text, i) ? (text)[HAS(text, i) ? (i) : 0] : 0) << (56 - 8 * (i)))
#define KEY(text)                                                                                  \
    (BYTE(text, 0) | BYTE(text, 1) | BYTE(text, 2) | BYTE(text, 3) | BYTE(text, 4) |               \
     BYTE(text, 5) | BYTE(text, 6) | BYTE(text, 7))

#define NAME(text) .key = KEY(text), .name = (text), .length = sizeof(text) - 1
#define ENTRY(text, effect_, flags_)                                                               \
    {                                                                                              \
        NAME(text), .effect = RESP_##effect_, .flags = (flags_)                                    \
    }
#define WITH_OTHERS(list, effect_, flags_)                                                         \
    {                                                                                              \
        NAME(#list), .effect = RESP_##effect_, .flags = (flags_), .others = (list),                \
                     .other_count = ARRAY_LEN(list)                                                \
    }
#define PLAIN(text)                    ENTRY(text, PLAIN, 0)
#define READ(text)                     ENTRY(text, PLAIN, RESP_READ)
#define WRITE(text)                    ENTRY(text, PLAIN, RESP_WRITE)
#define READ_WRITE(text)               ENTRY(text, PLAIN, RESP_READ | RESP_WRITE)
#define BLOCKS(text)                   ENTRY(text, BLOCKS, RESP_WRITE)
#define TUNNEL(text)                   ENTRY(text, TUNNEL, 0)
#define OF_CLIENT(text, effect, flags) ENTRY(text, effect, RESP_OF_CLIENT | (flags))
#define CONTAINER(list, flags)         WITH_OTHERS(list, PLAIN, flags)
#define MAY_BLOCK(list, flags)         WITH_OTHERS(list, BLOCKS, flags)

static const struct resp_known acl[] = {
    PLAIN("cat"),     PLAIN("deluser"), PLAIN("dryrun"), PLAIN("genpass"), PLAIN("getuser"),
    PLAIN("help"),    PLAIN("list"),    PLAIN("load"),   PLAIN("log"),     PLAIN("save"),
    PLAIN("setuser"), PLAIN("users"),   PLAIN("whoami"),
};

static const struct resp_known client[] = {
    OF_CLIENT("caching", TUNNEL, 0),
    OF_CLIENT("capa", TUNNEL, 0),
    OF_CLIENT("getname", PLAIN, 0),
    OF_CLIENT("getredir", TUNNEL, 0),
    OF_CLIENT("help", PLAIN, 0),
    OF_CLIENT("id", TUNNEL, 0),
    OF_CLIENT("import-source", TUNNEL, 0),
    OF_CLIENT("info", PLAIN, 0),
    OF_CLIENT("kill", PLAIN, 0),
    OF_CLIENT("list", PLAIN, 0),
    OF_CLIENT("no-evict", TUNNEL, 0),
    OF_CLIENT("no-touch", TUNNEL, 0),
    OF_CLIENT("pause", PLAIN, 0),
    OF_CLIENT("reply", TUNNEL, 0),
    OF_CLIENT("setinfo", CLIENT_SETINFO, RESP_WHOLE),
    OF_CLIENT("setname", CLIENT_SETNAME, RESP_WHOLE),
    OF_CLIENT("tracking", TUNNEL, 0),
    OF_CLIENT("trackinginfo", TUNNEL, 0),
    OF_CLIENT("unblock", PLAIN, 0),
    OF_CLIENT("unpause", PLAIN, 0),
};

static const struct resp_known cluster[] = {
    PLAIN("addslots"),
    PLAIN("addslotsrange"),
    PLAIN("bumpepoch"),
    PLAIN("cancelslotmigrations"),
    PLAIN("count-failure-reports"),
    PLAIN("countkeysinslot"),
    PLAIN("delslots"),
    PLAIN("delslotsrange"),
    PLAIN("failover"),
    PLAIN("flushslots"),
    PLAIN("forget"),
    PLAIN("getkeysinslot"),
    PLAIN("getslotmigrations"),
    PLAIN("help"),
    PLAIN("info"),
    PLAIN("keyslot"),
    PLAIN("links"),
    PLAIN("meet"),
    PLAIN("migrateslots"),
    PLAIN("migration"),
    PLAIN("myid"),
    PLAIN("myshardid"),
    PLAIN("nodes"),
    PLAIN("replicas"),
    PLAIN("replicate"),
    PLAIN("reset"),
    PLAIN("saveconfig"),
    PLAIN("set-config-epoch"),
    PLAIN("setslot"),
    PLAIN("shards"),
    PLAIN("slaves"),
    PLAIN("slot-stats"),
    PLAIN("slots"),
};

static const struct resp_known command[] = {
    PLAIN("count"), PLAIN("docs"), PLAIN("getkeys"), PLAIN("getkeysandflags"),
    PLAIN("help"),  PLAIN("info"), PLAIN("list"),
};

static const struct resp_known commandlog[] = {
    PLAIN("get"),
    PLAIN("help"),
    PLAIN("len"),
    PLAIN("reset"),
};

static const struct resp_known config[] = {
    PLAIN("get"), PLAIN("help"), PLAIN("resetstat"), PLAIN("rewrite"), PLAIN("set"),
};

static const struct resp_known function[] = {
    WRITE("delete"), PLAIN("dump"), WRITE("flush"),   PLAIN("help"),  PLAIN("kill"),
    PLAIN("list"),   WRITE("load"), WRITE("restore"), PLAIN("stats"),
};

static const struct resp_known latency[] = {
    PLAIN("doctor"),  PLAIN("graph"),  PLAIN("help"),  PLAIN("histogram"),
    PLAIN("history"), PLAIN("latest"), PLAIN("reset"),
};

static const struct resp_known memory[] = {
    PLAIN("doctor"), PLAIN("help"),  PLAIN("malloc-stats"),
    PLAIN("purge"),  PLAIN("stats"), READ("usage"),
};

static const struct resp_known module[] = {
    PLAIN("help"), PLAIN("list"), PLAIN("load"), PLAIN("loadex"), PLAIN("unload"),
};

static const struct resp_known object[] = {
    READ("encoding"), READ("freq"), PLAIN("help"), READ("idletime"), READ("refcount"),
};

static const struct resp_known pubsub[] = {
    PLAIN("channels"), PLAIN("help"),          PLAIN("numpat"),
    PLAIN("numsub"),   PLAIN("shardchannels"), PLAIN("shardnumsub"),
};

static const struct resp_known script[] = {
    TUNNEL("debug"), PLAIN("exists"), PLAIN("flush"), PLAIN("help"),
    PLAIN("kill"),   PLAIN("load"),   PLAIN("show"),
};

static const struct resp_known slowlog[] = {
    PLAIN("get"),
    PLAIN("help"),
    PLAIN("len"),
    PLAIN("reset"),
};

static const struct resp_known xgroup[] = {
    WRITE("create"),  WRITE("createconsumer"), WRITE("delconsumer"),
    WRITE("destroy"), PLAIN("help"),           WRITE("setid"),
};

static const struct resp_known xinfo[] = {
    READ("consumers"),
    READ("groups"),
    PLAIN("help"),
    READ("stream"),
};

/* Without BLOCK. */
static const struct resp_known xread[] = {
    READ("xread"),
};
static const struct resp_known xreadgroup[] = {
    WRITE("xreadgroup"),
};

static const struct resp_known letter_a[] = {
    CONTAINER(acl, 0),
    WRITE("append"),
    TUNNEL("asking"),
    ENTRY("auth", AUTH, RESP_WHOLE),
};

static const struct resp_known letter_b[] = {
    PLAIN("bgrewriteaof"), PLAIN("bgsave"),    READ("bitcount"),   WRITE("bitfield"),
    READ("bitfield_ro"),   WRITE("bitop"),     READ("bitpos"),     BLOCKS("blmove"),
    BLOCKS("blmpop"),      BLOCKS("blpop"),    BLOCKS("brpop"),    BLOCKS("brpoplpush"),
    BLOCKS("bzmpop"),      BLOCKS("bzpopmax"), BLOCKS("bzpopmin"),
};

static const struct resp_known letter_c[] = {
    CONTAINER(client, RESP_OF_CLIENT), CONTAINER(cluster, 0), CONTAINER(command, 0),
    CONTAINER(commandlog, 0),          CONTAINER(config, 0),  WRITE("copy"),
};

static const struct resp_known letter_d[] = {
    READ("dbsize"),   TUNNEL("debug"), WRITE("decr"),
    WRITE("decrby"),  WRITE("del"),    WRITE("delex"),
    WRITE("delifeq"), READ("digest"),  ENTRY("discard", DISCARD, 0),
    READ("dump"),
};

static const struct resp_known letter_e[] = {
    PLAIN("echo"),      WRITE("eval"),       PLAIN("eval_ro"),
    WRITE("evalsha"),   PLAIN("evalsha_ro"), ENTRY("exec", EXEC, RESP_WRITE),
    READ("exists"),     WRITE("expire"),     WRITE("expireat"),
    READ("expiretime"),
};

static const struct resp_known letter_f[] = {
    PLAIN("failover"), WRITE("fcall"),   PLAIN("fcall_ro"),
    WRITE("flushall"), WRITE("flushdb"), CONTAINER(function, 0),
};

static const struct resp_known letter_g[] = {
    WRITE("geoadd"),
    READ("geodist"),
    READ("geohash"),
    READ("geopos"),
    WRITE("georadius"),
    READ("georadius_ro"),
    WRITE("georadiusbymember"),
    READ("georadiusbymember_ro"),
    READ("geosearch"),
    WRITE("geosearchstore"),
    READ("get"),
    READ("getbit"),
    WRITE("getdel"),
    WRITE("getex"),
    READ("getrange"),
    WRITE("getset"),
};

static const struct resp_known letter_h[] = {
    WRITE("hdel"),
    ENTRY("hello", HELLO, RESP_WHOLE),
    READ("hexists"),
    WRITE("hexpire"),
    WRITE("hexpireat"),
    READ("hexpiretime"),
    READ("hget"),
    READ("hgetall"),
    WRITE("hgetdel"),
    WRITE("hgetex"),
    WRITE("hincrby"),
    WRITE("hincrbyfloat"),
    READ("hkeys"),
    READ("hlen"),
    READ("hmget"),
    WRITE("hmset"),
    ENTRY("host:", CLOSE, 0),
    WRITE("hpersist"),
    WRITE("hpexpire"),
    WRITE("hpexpireat"),
    READ("hpexpiretime"),
    READ("hpttl"),
    READ("hrandfield"),
    READ("hscan"),
    WRITE("hset"),
    WRITE("hsetex"),
    WRITE("hsetnx"),
    READ("hstrlen"),
    READ("httl"),
    READ("hvals"),
};

static const struct resp_known letter_i[] = {
    WRITE("incr"),
    WRITE("incrby"),
    WRITE("incrbyfloat"),
    PLAIN("info"),
};

static const struct resp_known letter_k[] = {
    READ("keys"),
};

static const struct resp_known letter_l[] = {
    PLAIN("lastsave"), CONTAINER(latency, 0), READ("lcs"),     READ("lindex"), WRITE("linsert"),
    READ("llen"),      WRITE("lmove"),        WRITE("lmpop"),  READ("lolwut"), WRITE("lpop"),
    READ("lpos"),      WRITE("lpush"),        WRITE("lpushx"), READ("lrange"), WRITE("lrem"),
    WRITE("lset"),     WRITE("ltrim"),
};

static const struct resp_known letter_m[] = {
    CONTAINER(memory, 0), READ("mget"),
    WRITE("migrate"),     CONTAINER(module, 0),
    TUNNEL("monitor"),    WRITE("move"),
    WRITE("mset"),        WRITE("msetex"),
    WRITE("msetnx"),      ENTRY("multi", MULTI, 0),
};

static const struct resp_known letter_o[] = {
    CONTAINER(object, 0),
};

static const struct resp_known letter_p[] = {
    WRITE("persist"),     WRITE("pexpire"),        WRITE("pexpireat"),
    READ("pexpiretime"),  WRITE("pfadd"),          READ_WRITE("pfcount"),
    WRITE("pfdebug"),     WRITE("pfmerge"),        PLAIN("pfselftest"),
    PLAIN("ping"),        ENTRY("post", CLOSE, 0), WRITE("psetex"),
    TUNNEL("psubscribe"), TUNNEL("psync"),         READ("pttl"),
    WRITE("publish"),     CONTAINER(pubsub, 0),    TUNNEL("punsubscribe"),
};

static const struct resp_known letter_q[] = {
    ENTRY("quit", QUIT, 0),
};

static const struct resp_known letter_r[] = {
    READ("randomkey"),  TUNNEL("readonly"),      TUNNEL("readwrite"), WRITE("rename"),
    WRITE("renamenx"),  TUNNEL("replconf"),      PLAIN("replicaof"),  ENTRY("reset", RESET, 0),
    WRITE("restore"),   WRITE("restore-asking"), PLAIN("role"),       WRITE("rpop"),
    WRITE("rpoplpush"), WRITE("rpush"),          WRITE("rpushx"),
};

static const struct resp_known letter_s[] = {
    WRITE("sadd"),        PLAIN("save"),
    READ("scan"),         READ("scard"),
    CONTAINER(script, 0), READ("sdiff"),
    WRITE("sdiffstore"),  ENTRY("select", SELECT, RESP_WHOLE),
    WRITE("set"),         WRITE("setbit"),
    WRITE("setex"),       WRITE("setnx"),
    WRITE("setrange"),    TUNNEL("shutdown"),
    READ("sinter"),       READ("sintercard"),
    WRITE("sinterstore"), READ("sismember"),
    PLAIN("slaveof"),     CONTAINER(slowlog, 0),
    READ("smembers"),     READ("smismember"),
    WRITE("smove"),       WRITE("sort"),
    READ("sort_ro"),      WRITE("spop"),
    WRITE("spublish"),    READ("srandmember"),
    WRITE("srem"),        READ("sscan"),
    TUNNEL("ssubscribe"), READ("stralgo"),
    READ("strlen"),       TUNNEL("subscribe"),
    READ("substr"),       READ("sunion"),
    WRITE("sunionstore"), TUNNEL("sunsubscribe"),
    WRITE("swapdb"),      TUNNEL("sync"),
};

static const struct resp_known letter_t[] = {
    PLAIN("time"),
    READ("touch"),
    READ("ttl"),
    READ("type"),
};

static const struct resp_known letter_u[] = {
    WRITE("unlink"),
    TUNNEL("unsubscribe"),
    ENTRY("unwatch", UNWATCH, 0),
};

static const struct resp_known letter_v[] = {
    WRITE("vadd"), READ("vcard"),     READ("vdim"),   READ("vemb"),        READ("vgetattr"),
    READ("vinfo"), READ("vismember"), READ("vlinks"), READ("vrandmember"), READ("vrange"),
    WRITE("vrem"), WRITE("vsetattr"), READ("vsim"),
};

static const struct resp_known letter_w[] = {
    ENTRY("wait", WAIT, 0),
    ENTRY("waitaof", WAIT, 0),
    ENTRY("watch", WATCH, 0),
};

static const struct resp_known letter_x[] = {
    WRITE("xack"),       WRITE("xackdel"),
    WRITE("xadd"),       WRITE("xautoclaim"),
    WRITE("xclaim"),     WRITE("xdel"),
    WRITE("xdelex"),     CONTAINER(xgroup, 0),
    CONTAINER(xinfo, 0), READ("xlen"),
    READ("xpending"),    READ("xrange"),
    MAY_BLOCK(xread, 0), MAY_BLOCK(xreadgroup, RESP_WRITE),
    READ("xrevrange"),   WRITE("xsetid"),
    WRITE("xtrim"),
};

static const struct resp_known letter_z[] = {
    WRITE("zadd"),
    READ("zcard"),
    READ("zcount"),
    READ("zdiff"),
    WRITE("zdiffstore"),
    WRITE("zincrby"),
    READ("zinter"),
    READ("zintercard"),
    WRITE("zinterstore"),
    READ("zlexcount"),
    WRITE("zmpop"),
    READ("zmscore"),
    WRITE("zpopmax"),
    WRITE("zpopmin"),
    READ("zrandmember"),
    READ("zrange"),
    READ("zrangebylex"),
    READ("zrangebyscore"),
    WRITE("zrangestore"),
    READ("zrank"),
    WRITE("zrem"),
    WRITE("zremrangebylex"),
    WRITE("zremrangebyrank"),
    WRITE("zremrangebyscore"),
    READ("zrevrange"),
    READ("zrevrangebylex"),
    READ("zrevrangebyscore"),
    READ("zrevrank"),
    READ("zscan"),
    READ("zscore"),
    READ("zunion"),
    WRITE("zunionstore"),
};

#define LETTER(list)                                                                               \
    {                                                                                              \
        (list), ARRAY_LEN(list)                                                                    \
    }
const struct resp_letter resp_letters[26] = {
    ['a' - 'a'] = LETTER(letter_a), ['b' - 'a'] = LETTER(letter_b), ['c' - 'a'] = LETTER(letter_c),
    ['d' - 'a'] = LETTER(letter_d), ['e' - 'a'] = LETTER(letter_e), ['f' - 'a'] = LETTER(letter_f),
    ['g' - 'a'] = LETTER(letter_g), ['h' - 'a'] = LETTER(letter_h), ['i' - 'a'] = LETTER(letter_i),
    ['k' - 'a'] = LETTER(letter_k), ['l' - 'a'] = LETTER(letter_l), ['m' - 'a'] = LETTER(letter_m),
    ['o' - 'a'] = LETTER(letter_o), ['p' - 'a'] = LETTER(letter_p), ['q' - 'a'] = LETTER(letter_q),
    ['r' - 'a'] = LETTER(letter_r), ['s' - 'a'] = LETTER(letter_s), ['t' - 'a'] = LETTER(letter_t),
    ['u' - 'a'] = LETTER(letter_u), ['v' - 'a'] = LETTER(letter_v), ['w' - 'a'] = LETTER(letter_w),
    ['x' - 'a'] = LETTER(letter_x), ['z' - 'a'] = LETTER(letter_z),
};
