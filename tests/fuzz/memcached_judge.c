/* SPDX-License-Identifier: ISC */
/* See the header. Commands by a table of what may follow their names, one item a word:
 *
 *     K  a key           U  32 bits, unsigned     I  32 bits, signed     Q  64 bits
 *     L  a value's bytes F  a decimal fraction    W  a word              N  noreply, or nothing
 *     K*, M*, W*  any number of keys (at least one); meta flags; words, to 24 with the name
 *
 * and in lower case, or digits, the word itself. */
#include "memcached_judge.h"

#include <stdlib.h>
#include <string.h>

#include "require.h"

#define LINE_LIMIT      2048
#define KEYS_LINE_LIMIT 65536
#define VALUE_LIMIT     (1u << 30)
#define KEY_LIMIT       250

struct rule {
    const char *name, *words;
    char reply;
    char kind; /* r: a read; o: opens; q: quits; b: a barrier; else ' ' */
};

static const struct rule rules[] = {
    {"add", "K U I L N", 'l', ' '},
    {"append", "K U I L N", 'l', ' '},
    {"cache_memlimit", "U N", 'l', ' '},
    {"cas", "K U I L Q N", 'l', ' '},
    {"debugtime", "W", 'l', ' '},
    {"decr", "K Q N", 'l', ' '},
    {"delete", "K 0 N", 'l', ' '},
    {"delete", "K N", 'l', ' '},
    {"extstore", "compact_under U", 'l', ' '},
    {"extstore", "drop_under U", 'l', ' '},
    {"extstore", "drop_unread U", 'l', ' '},
    {"extstore", "free_memchunks U U", 'l', ' '},
    {"extstore", "item_age U", 'l', ' '},
    {"extstore", "item_size U", 'l', ' '},
    {"extstore", "low_ttl U", 'l', ' '},
    {"extstore", "max_frag F", 'l', ' '},
    {"extstore", "max_sleep U", 'l', ' '},
    {"extstore", "recache_rate U", 'l', ' '},
    {"flush_all", "I N", 'l', ' '},
    {"flush_all", "N", 'l', ' '},
    {"gat", "I K*", 'v', ' '},
    {"gats", "I K*", 'v', ' '},
    {"get", "K*", 'v', 'r'},
    {"gets", "K*", 'v', 'r'},
    {"incr", "K Q N", 'l', ' '},
    {"lru", "mode flat", 'l', ' '},
    {"lru", "mode segmented", 'l', ' '},
    {"lru", "temp_ttl I", 'l', ' '},
    {"lru", "tune U U F F", 'l', ' '},
    {"lru_crawler", "crawl W", 'l', ' '},
    {"lru_crawler", "disable", 'l', ' '},
    {"lru_crawler", "enable", 'l', ' '},
    {"lru_crawler", "metadump W", 'l', 'o'},
    {"lru_crawler", "mgdump W", 'l', 'o'},
    {"lru_crawler", "sleep U", 'l', ' '},
    {"lru_crawler", "tocrawl U", 'l', ' '},
    {"ma", "K M*", 'm', ' '},
    {"md", "K M*", 'm', ' '},
    {"me", "K", 'm', ' '},
    {"me", "K b", 'm', ' '},
    {"mg", "K M*", 'm', ' '},
    {"mn", "", 'n', 'b'},
    {"ms", "K L M*", 'm', ' '},
    {"prepend", "K U I L N", 'l', ' '},
    {"quit", "", '-', 'q'},
    {"refresh_certs", "", 'l', ' '},
    {"replace", "K U I L N", 'l', ' '},
    {"set", "K U I L N", 'l', ' '},
    {"shutdown", "", 'l', 'o'},
    {"shutdown", "graceful", 'l', 'o'},
    {"slabs", "automove U", 'l', ' '},
    {"slabs", "automove ratio F", 'l', ' '},
    {"slabs", "reassign I I", 'l', ' '},
    {"stats", "", 's', ' '},
    {"stats", "cachedump U U", 's', 'o'},
    {"stats", "conns", 's', ' '},
    {"stats", "detail dump", 's', 'o'},
    {"stats", "detail off", 'l', ' '},
    {"stats", "detail on", 'l', ' '},
    {"stats", "extstore", 's', ' '},
    {"stats", "items", 's', ' '},
    {"stats", "proxy", 's', ' '},
    {"stats", "proxybe", 's', ' '},
    {"stats", "proxyfuncs", 's', ' '},
    {"stats", "reset", 'l', ' '},
    {"stats", "settings", 's', ' '},
    {"stats", "sizes", 's', ' '},
    {"stats", "sizes_disable", 'z', ' '},
    {"stats", "sizes_enable", 'z', ' '},
    {"stats", "slabs", 's', ' '},
    {"touch", "K I N", 'l', ' '},
    {"verbosity", "U N", 'l', ' '},
    {"version", "", 'V', ' '},
    {"watch", "W*", 'l', 'o'},
};

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Digits, no more of them than `largest` has, and not larger: compared as text. */
static bool is_number(const char *word, const char *largest)
{
    size_t length = strlen(word), most = strlen(largest);

    if (length == 0 || strspn(word, DIGITS) != length || length > most)
        return false;
    return length < most || strcmp(word, largest) <= 0;
}

static bool is_signed(const char *word)
{
    return word[0] == '-' ? is_number(word + 1, "2147483648") : is_number(word, "2147483647");
}

static bool is_fraction(const char *word)
{
    char whole[64];
    const char *point = strchr(word, '.');

    if (!point)
        return is_number(word, "4294967295");
    if (point - word > 40)
        return false;
    memcpy(whole, word, (size_t)(point - word));
    whole[point - word] = '\0';
    return is_number(whole, "4294967295") && is_number(point + 1, "4294967295");
}

/* Base64 to bytes, bit by bit. -1: it is not base64; 1: CR or LF is among them. */
static int read_base64(const char *word)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" DIGITS "+/";
    size_t length = strlen(word), plain = strspn(word, alphabet), bits = 0;
    unsigned byte = 0;
    int found = 0;

    if (length == 0 || length % 4 || plain < length - 2 ||
        strspn(word + plain, "=") != length - plain)
        return -1;
    for (size_t i = 0; i < plain; i++) {
        unsigned value = (unsigned)(strchr(alphabet, word[i]) - alphabet);

        for (int bit = 5; bit >= 0; bit--) {
            byte = byte << 1 | (value >> bit & 1);
            if (++bits % 8)
                continue;
            found |= byte == '\r' || byte == '\n';
            byte = 0;
        }
    }
    return found;
}

/* A line's words; control characters in them are all 0x01. */
struct words {
    char *line;
    char **at;
    size_t count;
    bool unclean, indented;
};

static void split(struct words *words, const char *data, size_t length)
{
    *words = (struct words){.line = malloc(length + 1), .at = calloc(length + 1, sizeof(char *))};
    REQUIRE(words->line && words->at);
    words->indented = length > 0 && data[0] == ' ';
    for (size_t i = 0; i <= length; i++) {
        unsigned char c = i < length ? (unsigned char)data[i] : ' ';

        if (c < ' ' || c == 0x7f) {
            words->unclean = true;
            c = 1;
        }
        words->line[i] = c == ' ' ? '\0' : (char)c;
        if (c != ' ' && (i == 0 || words->line[i - 1] == '\0'))
            words->at[words->count++] = words->line + i;
    }
}

static void drop(struct words *words)
{
    free(words->line);
    free(words->at);
}

static bool is_flag(const char *flag)
{
    const char *token = flag + 1;

    if (!strchr(LETTERS, flag[0]))
        return false;
    if (strchr("NRT", flag[0]))
        return is_signed(token);
    if (flag[0] == 'F')
        return is_number(token, "4294967295");
    if (strchr("CDEJ", flag[0]))
        return is_number(token, "18446744073709551615");
    if (flag[0] == 'M')
        return strlen(token) == 1;
    if (flag[0] == 'O')
        return strlen(token) <= 31;
    return !strchr("bq", flag[0]) || token[0] == '\0';
}

static const char *find_flag(const struct words *words, size_t from, char letter)
{
    for (size_t i = from; i < words->count; i++)
        if (words->at[i][0] == letter)
            return words->at[i];
    return NULL;
}

static bool are_flags(const struct words *words, size_t from)
{
    if (words->count > 19)
        return false;
    for (size_t i = from; i < words->count; i++)
        if (!is_flag(words->at[i]) || find_flag(words, i + 1, words->at[i][0]))
            return false;
    if (!find_flag(words, from, 'b'))
        return true;
    int key = read_base64(words->at[1]);
    return key == 0 || (key == 1 && !find_flag(words, from, 'k'));
}

static bool fits(char class, const char *word)
{
    switch (class) {
    case 'K':
        return strlen(word) <= KEY_LIMIT;
    case 'U':
        return is_number(word, "4294967295");
    case 'I':
        return is_signed(word);
    case 'Q':
        return is_number(word, "18446744073709551615");
    case 'L':
        return is_number(word, "2147483645");
    case 'F':
        return is_fraction(word);
    default:
        return class == 'W';
    }
}

static bool is_noreply(const struct words *words, size_t at)
{
    return at + 1 == words->count && strcmp(words->at[at], "noreply") == 0;
}

static bool obeys(const struct rule *rule, const struct words *words)
{
    size_t at = 1;
    char items[64];

    strcpy(items, rule->words);
    for (char *rest = items, *item; (item = strsep(&rest, " ")) && *item; at++) {
        if (strcmp(item, "N") == 0) {
            at += is_noreply(words, at);
            break;
        }
        if (strcmp(item, "M*") == 0)
            return are_flags(words, at);
        if (strcmp(item, "W*") == 0)
            return words->count <= 24;
        if (at >= words->count)
            return false;
        if (strcmp(item, "K*") == 0) {
            bool long_key = false;
            for (; at < words->count; at++)
                long_key |= strlen(words->at[at]) > KEY_LIMIT;
            return !long_key;
        }
        if (strchr(LETTERS, item[0]) && item[0] < 'a' ? !fits(item[0], words->at[at])
                                                      : strcmp(item, words->at[at]) != 0)
            return false;
    }
    return at == words->count;
}

/* Where newer servers read a line differently. */
static bool is_ambiguous(const struct words *words, bool bare)
{
    const char *name = words->at[0];

    if (strcmp(name, "mn") == 0)
        return bare;
    if (strcmp(name, "get") == 0 || strcmp(name, "gets") == 0)
        return is_noreply(words, words->count - 1);
    if (strcmp(name, "delete") == 0)
        return words->count == 2 && is_noreply(words, 1);
    if (strcmp(name, "me") == 0)
        return words->count == 3 && read_base64(words->at[1]) != 0;
    return false;
}

/* The word that is a value's length, if the line has the right number of words. 0: none. */
static size_t length_word(const struct words *words)
{
    const char *name = words->at[0];
    size_t most = strcmp(name, "cas") == 0 ? 6 : 5;

    if (strcmp(name, "ms") == 0)
        return words->count > 2 ? 2 : 0;
    return words->count == most || (words->count == most + 1 && is_noreply(words, most)) ? 4 : 0;
}

static bool has_value(const char *name)
{
    for (const struct rule *rule = rules; rule < rules + sizeof(rules) / sizeof(rules[0]); rule++)
        if (strcmp(rule->name, name) == 0)
            return strstr(rule->words, " L") != NULL;
    return false;
}

static enum judge_verdict judge_words(struct judge_command *command, const struct words *words,
                                      bool bare)
{
    const struct rule *found = NULL;
    uint64_t bytes = 0;

    if (words->count == 0)
        return JUDGE_BAD;
    for (const struct rule *rule = rules; rule < rules + sizeof(rules) / sizeof(rules[0]); rule++)
        if (strcmp(rule->name, words->at[0]) == 0 && obeys(rule, words))
            found = rule;
    if (has_value(words->at[0])) {
        size_t at = length_word(words);
        command->close = at == 0 || !is_number(words->at[at], "2147483645");
        if (!command->close) {
            bytes = strtoull(words->at[at], NULL, 10);
            command->follows = bytes + 2;
        }
    }
    if (!found || words->unclean || words->indented || is_ambiguous(words, bare) ||
        bytes > VALUE_LIMIT)
        return JUDGE_BAD;
    command->reads = found->kind == 'r';
    command->opens = found->kind == 'o';
    command->quits = found->kind == 'q';
    command->barrier = found->kind == 'b';
    command->reply = found->reply;
    if (strchr(found->words, 'N') && words->count > 1 && is_noreply(words, words->count - 1)) {
        command->quiet = true;
        command->reply = '-';
    }
    if (strstr(found->words, "M*"))
        command->quiet = find_flag(words, strcmp(found->name, "ms") == 0 ? 3 : 2, 'q');
    return JUDGE_WHOLE;
}

static bool starts(const char *data, size_t length, const char *text)
{
    return length >= strlen(text) && memcmp(data, text, strlen(text)) == 0;
}

/* Is there a key before the end, complete or not, that cannot be one? */
static bool has_bad_key(const char *data, size_t length)
{
    size_t run = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];

        run = c == ' ' ? 0 : run + 1;
        if (c == '\r' && i + 1 == length) /* LF may follow */
            return run > KEY_LIMIT + 1;
        if (run > KEY_LIMIT || c < ' ' || c == 0x7f)
            return true;
    }
    return false;
}

static enum judge_verdict judge_line(struct judge_command *command, const char *data, size_t length)
{
    const char *lf = memchr(data, '\n', length);
    size_t line = lf ? (size_t)(lf + 1 - data) : length;
    bool keys = starts(data, length, "get ") || starts(data, length, "gets ");
    bool touches = starts(data, length, "gat ") || starts(data, length, "gats ");
    size_t limit = keys || touches ? KEYS_LINE_LIMIT : LINE_LIMIT;
    bool too_long = line > limit || (line == limit && !lf);
    struct words words;
    enum judge_verdict verdict;

    command->length = line;
    if (too_long && (!keys || has_bad_key(data, lf ? line - 1 : line))) {
        command->close = true;
        return JUDGE_BAD;
    }
    if (!lf)
        return JUDGE_MORE;
    bool bare = line < 2 || data[line - 2] != '\r';
    split(&words, data, bare ? line - 1 : line - 2);
    verdict = judge_words(command, &words, bare);
    drop(&words);
    if (verdict == JUDGE_BAD && too_long)
        command->close = true;
    return verdict;
}

static uint32_t number(const char *data, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value = value * 256 + (unsigned char)data[i];
    return value;
}

/* Is the opcode in the list? */
static bool is_in(unsigned opcode, const char *list, size_t count)
{
    return memchr(list, (int)opcode, count) != NULL;
}
#define IS_IN(opcode, list) is_in(opcode, list, sizeof(list) - 1)

#define STORES  "\x01\x02\x03\x11\x12\x13"
#define APPENDS "\x0e\x0f\x19\x1a"
#define COUNTS  "\x05\x06\x15\x16"
#define FLUSHES "\x08\x18"
#define TOUCHES "\x1c\x1d\x1e\x23\x24"
#define READS   "\x00\x09\x0c\x0d"
#define DELETES "\x04\x14"
#define SINGLES "\x07\x17\x0a\x0b\x20" /* only a header */
#define LOGINS  "\x21\x22"
#define QUIETS  "\x09\x0d\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1e\x24"

static bool lengths_are_right(unsigned opcode, uint32_t extras, uint32_t key, uint32_t value)
{
    if (key > KEY_LIMIT)
        return false;
    if (IS_IN(opcode, STORES))
        return extras == 8 && key;
    if (IS_IN(opcode, APPENDS) || IS_IN(opcode, LOGINS))
        return extras == 0 && key;
    if (IS_IN(opcode, COUNTS))
        return extras == 20 && key && !value;
    if (IS_IN(opcode, FLUSHES))
        return (extras == 0 || extras == 4) && !key && !value;
    if (IS_IN(opcode, TOUCHES))
        return extras == 4 && key && !value;
    if (IS_IN(opcode, READS) || IS_IN(opcode, DELETES))
        return extras == 0 && key && !value;
    if (IS_IN(opcode, SINGLES))
        return extras == 0 && !key && !value;
    return extras == 0 && !value; /* STAT */
}

static enum judge_verdict judge_packet(struct judge_command *command, const char *data,
                                       size_t length)
{
    static const char all[] =
        STORES APPENDS COUNTS FLUSHES TOUCHES DELETES SINGLES LOGINS "\x10"
                                                                     "\x09\x0c\x0d";

    command->close = true;
    command->length = 24;
    if (data[0] != '\x80')
        return JUDGE_BAD;
    if (length < 24)
        return JUDGE_MORE;

    unsigned opcode = (unsigned char)data[1];
    uint64_t key = number(data + 2, 2), extras = number(data + 4, 1), body = number(data + 8, 4);

    if (key + extras > body || body > 0x7fffffff)
        return JUDGE_BAD;
    uint64_t value = body - key - extras;
    if (opcode != 0 && !IS_IN(opcode, all)) {
        command->close = false;
        command->follows = body;
        return JUDGE_BAD;
    }
    if (data[5] != 0 ||
        !lengths_are_right(opcode, (uint32_t)extras, (uint32_t)key, (uint32_t)value))
        return JUDGE_BAD;
    command->close = false;
    command->follows = body;
    if (value > VALUE_LIMIT)
        return JUDGE_BAD;
    if (length < 24 + key + extras)
        return JUDGE_MORE;
    command->length = 24 + key + extras;
    command->follows = value;
    command->reply = 'p';
    if (opcode == 0x10) {
        command->reply = 'S';
        if ((key == 12 && memcmp(data + 24, "sizes_enable", 12) == 0) ||
            (key == 13 && memcmp(data + 24, "sizes_disable", 13) == 0))
            command->reply = 'Z';
    }
    command->quiet = IS_IN(opcode, QUIETS);
    command->reads = IS_IN(opcode, READS);
    command->opens = IS_IN(opcode, LOGINS) || opcode == 0x20;
    command->quits = opcode == 0x07 || opcode == 0x17;
    command->barrier = opcode == 0x0a;
    return JUDGE_WHOLE;
}

enum judge_verdict judge_command(struct judge_command *command, const char *data, size_t length,
                                 bool binary)
{
    memset(command, 0, sizeof(*command));
    if (length == 0)
        return JUDGE_MORE;
    enum judge_verdict verdict =
        binary ? judge_packet(command, data, length) : judge_line(command, data, length);
    if (verdict == JUDGE_BAD && command->close)
        command->follows = 0;
    return verdict;
}
