/* SPDX-License-Identifier: ISC */
/* Text commands: their lines and values. */
#include "memcached/memcached_internal.h"
#include "memcached/memcached_scan.h"

/* memcached_command.stage */
enum {
    STAGE_LINE,    /* looks for the line's end */
    STAGE_KEYS,    /* get, gets: among the keys */
    STAGE_REFUSED, /* the same, and one is rejected: looks for the line's end */
    STAGE_DONE,
    STAGE_BAD
};

void memcached_command_begin(struct memcached_command *command, bool binary)
{
    memset(command, 0, sizeof(*command));
    command->binary = binary;
}

enum memcached_result memcached_refuse(struct memcached_command *command, const char *error)
{
    command->error = error;
    return MEMCACHED_BAD;
}

bool memcached_take_length(struct memcached_command *command, const struct memcached_word *word)
{
    uint32_t length;

    if (!memcached_parse_u32(word->text, word->length, &length) || length > INT32_MAX - 2)
        return false;
    command->value_length = length;
    command->value_left = length + UINT64_C(2);
    return true;
}

/* Is the last word noreply? It is not one of the first `least` words. */
static bool take_noreply(struct memcached_command *command, const struct memcached_words *words,
                         size_t least)
{
    command->quiet = words->count > least && words->count <= MEMCACHED_WORDS_MAX &&
                     memcached_word_is(&words->at[words->count - 1], "noreply");
    return command->quiet;
}

static enum memcached_result parse_store(struct memcached_command *command,
                                         const struct memcached_words *words)
{
    size_t needed = command->row->form == FORM_CAS ? 6 : 5;
    bool noreply = take_noreply(command, words, 1);
    uint32_t flags;
    uint64_t cas;

    if ((words->count != needed && !(words->count == needed + 1 && noreply)) ||
        !memcached_take_length(command, &words->at[4])) {
        command->close = true; /* it is unclear which part of the line is the length */
        return memcached_refuse(command, words->count == needed ? ERROR_FORMAT : ERROR_UNKNOWN);
    }
    if (!memcached_is_key(&words->at[1]) ||
        !memcached_parse_u32(words->at[2].text, words->at[2].length, &flags) ||
        !memcached_is_i32(words->at[3].text, words->at[3].length))
        return memcached_refuse(command, ERROR_FORMAT);
    if (needed == 6 && !memcached_parse_u64(words->at[5].text, words->at[5].length, &cas))
        return memcached_refuse(command, ERROR_FORMAT);
    return MEMCACHED_DONE;
}

/* As servers of all versions read it, and as old clients send it. */
static enum memcached_result parse_delete(struct memcached_command *command,
                                          const struct memcached_words *words)
{
    size_t count = words->count;

    if (count < 2)
        return memcached_refuse(command, ERROR_UNKNOWN);
    if (!memcached_is_key(&words->at[1]))
        return memcached_refuse(command, ERROR_FORMAT);
    if (take_noreply(command, words, 1))
        count--;
    if (count == 1) /* newer servers treat the key as an option, too */
        return memcached_refuse(command, ERROR_UNKNOWN);
    if (count > 3 || (count == 3 && !memcached_word_is(&words->at[2], "0")))
        return memcached_refuse(command, ERROR_DELETE);
    return MEMCACHED_DONE;
}

static enum memcached_result parse_number(struct memcached_command *command,
                                          const struct memcached_words *words)
{
    const struct memcached_word *number = &words->at[2];
    uint64_t delta;

    if (words->count < 3 || words->count > 4 ||
        take_noreply(command, words, 3) != (words->count == 4))
        return memcached_refuse(command, ERROR_UNKNOWN);
    if (!memcached_is_key(&words->at[1]))
        return memcached_refuse(command, ERROR_FORMAT);
    if (command->row->form == FORM_TOUCH)
        return memcached_is_i32(number->text, number->length)
                   ? MEMCACHED_DONE
                   : memcached_refuse(command, ERROR_EXPTIME);
    return memcached_parse_u64(number->text, number->length, &delta)
               ? MEMCACHED_DONE
               : memcached_refuse(command, ERROR_DELTA);
}

/* gat, gats: any number of keys. */
static enum memcached_result parse_touch_keys(struct memcached_command *command,
                                              const struct memcached_words *words, const char *end)
{
    if (words->count < 3)
        return memcached_refuse(command, ERROR_UNKNOWN);
    if (!memcached_is_i32(words->at[1].text, words->at[1].length))
        return memcached_refuse(command, ERROR_EXPTIME);

    const char *at = words->at[2].text, *start = at;

    for (; at <= end; at++) {
        if (at < end && *at != ' ')
            continue;
        if (at - start > MEMCACHED_KEY_MAX)
            return memcached_refuse(command, ERROR_FORMAT);
        start = at + 1;
    }
    return MEMCACHED_DONE;
}

static bool word_fits(const struct memcached_word *word, char kind)
{
    uint32_t number;

    if (kind == 'u')
        return memcached_parse_u32(word->text, word->length, &number);
    if (kind == 'i')
        return memcached_is_i32(word->text, word->length);
    return kind != 'f' || memcached_is_fraction(word->text, word->length);
}

/* Are these the arguments that the row is for? */
static bool words_fit(const struct memcached_row *row, const struct memcached_words *words,
                      bool *noreply)
{
    const char *form = row->arguments;
    size_t at = 1;

    for (*noreply = false; *form != '\0'; at++) {
        size_t length = strcspn(form, " ");

        if (form[0] == '%' && form[1] == '*')
            return true;
        if (form[0] == '%' && form[1] == 'n') {
            *noreply = at < words->count && memcached_word_is(&words->at[at], "noreply");
            at += *noreply;
            break;
        }
        if (at >= words->count)
            return false;
        if (form[0] == '%'
                ? !word_fits(&words->at[at], form[1])
                : words->at[at].length != length || memcmp(words->at[at].text, form, length) != 0)
            return false;
        form += length;
        form += *form == ' ';
    }
    return at == words->count;
}

static enum memcached_result parse_words(struct memcached_command *command,
                                         const struct memcached_words *words)
{
    if (words->count > MEMCACHED_WORDS_MAX)
        return memcached_refuse(command, ERROR_UNKNOWN);
    for (const struct memcached_row *row = command->row; row; row = memcached_row_next(row))
        if (words_fit(row, words, &command->quiet)) {
            command->row = row;
            return MEMCACHED_DONE;
        }
    return memcached_refuse(command, ERROR_UNKNOWN);
}

static enum memcached_result parse_arguments(struct memcached_command *command,
                                             const struct memcached_words *words, const char *end)
{
    switch ((enum memcached_form)command->row->form) {
    case FORM_STORE:
    case FORM_CAS:
        return parse_store(command, words);
    case FORM_DELETE:
        return parse_delete(command, words);
    case FORM_ARITHMETIC:
    case FORM_TOUCH:
        return parse_number(command, words);
    case FORM_TOUCH_KEYS:
        return parse_touch_keys(command, words, end);
    case FORM_META:
    case FORM_META_STORE:
    case FORM_META_DEBUG:
        return memcached_meta_parse(command, words);
    case FORM_WORDS:
        return parse_words(command, words);
    case FORM_KEYS:
        break;
    }
    return memcached_refuse(command, ERROR_UNKNOWN); /* a key would have followed the name */
}

/* What is wrong with a line whose arguments are valid. NULL: nothing. */
static const char *find_fault(const struct memcached_command *command,
                              const struct memcached_words *words, bool bare)
{
    if (words->indented)
        return ERROR_UNKNOWN;
    if (words->unclean)
        return ERROR_FORMAT;
    if (bare && command->row->traits & MEMCACHED_BARRIER) /* as newer servers say */
        return ERROR_UNKNOWN;
    if (command->value_length > MEMCACHED_VALUE_MAX)
        return ERROR_LARGE;
    return NULL;
}

/* The line's LF is at `end`. */
static enum memcached_result parse_line(struct memcached_command *command, const char *data,
                                        const char *end)
{
    struct memcached_words words;
    bool bare = end == data || end[-1] != '\r';
    const char *text_end = bare ? end : end - 1;

    command->length = (size_t)(end + 1 - data);
    memcached_words_split(&words, data, (size_t)(text_end - data));
    if (words.count > 0)
        command->row = memcached_row_find(words.at[0].text, words.at[0].length);
    if (!command->row)
        return memcached_refuse(command, ERROR_UNKNOWN);
    command->traits = command->row->traits;

    enum memcached_result result = parse_arguments(command, &words, text_end);
    const char *fault = find_fault(command, &words, bare);

    command->traits = command->row->traits;
    command->reply = command->row->reply;
    if (result == MEMCACHED_DONE && fault)
        result = memcached_refuse(command, fault);
    return result;
}

/* Discards the rest of a rejected line of keys, as long as it is one. */
static enum memcached_result skip_line(struct memcached_command *command, const char *data,
                                       size_t length)
{
    size_t end = length < MEMCACHED_KEYS_LINE_MAX ? length : MEMCACHED_KEYS_LINE_MAX;
    const char *lf = NULL;

    command->stage = STAGE_REFUSED;
    command->passable = 0;
    command->close = command->passed > 0;
    if (command->close)
        return MEMCACHED_BAD;
    if (command->scanned < end)
        lf = memchr(data + command->scanned, '\n', end - command->scanned);
    if (lf) {
        command->length = (size_t)(lf + 1 - data);
        return MEMCACHED_BAD;
    }
    command->scanned = end;
    command->close = end == MEMCACHED_KEYS_LINE_MAX;
    return command->close ? MEMCACHED_BAD : MEMCACHED_MORE;
}

static enum memcached_result refuse_keys(struct memcached_command *command, const char *data,
                                         size_t length, const char *error)
{
    command->error = error;
    return skip_line(command, data, length);
}

/* The word before `end` is complete. False: it is not a key. */
static ALWAYS_INLINE bool take_key(struct memcached_command *command, const char *data, size_t end)
{
    size_t key = end - command->word;

    if (key == 0)
        return true;
    command->has_key = true;
    command->last_is_noreply =
        key == strlen("noreply") && memcmp(data + command->word, "noreply", key) == 0;
    return key <= MEMCACHED_KEY_MAX;
}

/* A word is followed by something other than a blank. */
static enum memcached_result end_keys(struct memcached_command *command, const char *data,
                                      size_t length)
{
    const char *end = data + command->scanned;

    end += *end == '\r';
    if (*end != '\n')
        return refuse_keys(command, data, length, ERROR_FORMAT);
    if (!command->has_key || command->last_is_noreply) /* newer servers treat that as an option */
        return refuse_keys(command, data, length, ERROR_UNKNOWN);
    command->length = (size_t)(end + 1 - data);
    return MEMCACHED_DONE;
}

/* get, gets: from command->scanned on there are keys. */
static enum memcached_result parse_keys(struct memcached_command *command, const char *data,
                                        size_t length)
{
    size_t at = command->scanned;

    for (;;) {
        at = (size_t)(memcached_scan_word(data + at, data + length) - data);
        command->scanned = at;
        if (at < length ? !take_key(command, data, at) : at - command->word > MEMCACHED_KEY_MAX)
            return refuse_keys(command, data, length, ERROR_FORMAT);
        if (at == length || (data[at] == '\r' && at + 1 == length))
            break;
        if (data[at] != ' ')
            return end_keys(command, data, length);
        command->word = ++at;
    }
    command->passable = command->has_key ? command->word : 0;
    return MEMCACHED_MORE;
}

static void set_row(struct memcached_command *command, const struct memcached_row *row)
{
    command->row = row;
    command->traits = row->traits;
    command->reply = row->reply;
}

/* Is the line one of get or gets, as far as it has arrived? */
static bool begin_keys(struct memcached_command *command, const char *data, size_t length)
{
    if (length < 4 || memcmp(data, "get", 3) != 0)
        return false;
    if (data[3] == ' ')
        set_row(command, &memcached_text_rows[ROW_GET]);
    else if (length >= 5 && memcmp(data + 3, "s ", 2) == 0)
        set_row(command, &memcached_text_rows[ROW_GETS]);
    else
        return false;
    command->scanned = command->word = command->row->name_length + 1U;
    command->stage = STAGE_KEYS;
    return true;
}

/* A number in the line at `at`, followed by the byte `stop`. NULL: it is not as simple as that. */
static ALWAYS_INLINE const char *plain_number(const char *at, const char *end, char stop,
                                              uint32_t *number)
{
    const char *start = at;
    uint32_t value = 0;

    for (; at < end && (unsigned char)(*at - '0') <= 9; at++)
        value = value * 10 + (uint32_t)(*at - '0');
    *number = value;
    return at > start && at - start <= 9 && at < end && *at == stop ? at + 1 : NULL;
}

/* Most lines that store are as simple as possible: their parts are read in one go. False: this one
 * is not, is incomplete, or is not a set; nothing is recorded. */
static bool parse_plain_set(struct memcached_command *command, const char *data, size_t length)
{
    const char *end = data + (length < MEMCACHED_LINE_MAX ? length : MEMCACHED_LINE_MAX), *at;
    uint32_t flags, exptime, bytes;

    if (length < 4 || memcmp(data, "set ", 4) != 0)
        return false;
    at = memcached_scan_word(data + 4, end);
    if (at == end || *at != ' ' || at == data + 4 || at - data > 4 + MEMCACHED_KEY_MAX)
        return false;
    at = plain_number(at + 1, end, ' ', &flags);
    at = at ? plain_number(at, end, ' ', &exptime) : NULL;
    at = at ? plain_number(at, end, '\r', &bytes) : NULL;
    if (!at || at == end || *at != '\n')
        return false;
    set_row(command, &memcached_text_rows[ROW_SET]);
    command->length = (size_t)(at + 1 - data);
    command->value_length = bytes;
    command->value_left = bytes + UINT64_C(2);
    return true;
}

/* Lines that are passed on as a whole. */
static enum memcached_result find_line(struct memcached_command *command, const char *data,
                                       size_t length)
{
    size_t max = length >= 5 && (memcmp(data, "gat ", 4) == 0 || memcmp(data, "gats ", 5) == 0)
                     ? MEMCACHED_KEYS_LINE_MAX
                     : MEMCACHED_LINE_MAX;
    size_t end = length < max ? length : max;
    const char *lf = memchr(data + command->scanned, '\n', end - command->scanned);

    if (lf)
        return parse_line(command, data, lf);
    command->scanned = end;
    if (end < max)
        return MEMCACHED_MORE;
    command->close = true;
    return memcached_refuse(command, ERROR_LONG);
}

static enum memcached_result parse_text(struct memcached_command *command, const char *data,
                                        size_t length)
{
    if (command->stage == STAGE_REFUSED)
        return skip_line(command, data, length);
    if (command->stage == STAGE_KEYS || begin_keys(command, data, length))
        return parse_keys(command, data, length);
    if (command->scanned == 0 && parse_plain_set(command, data, length))
        return MEMCACHED_DONE;
    return find_line(command, data, length);
}

enum memcached_result memcached_command_parse(struct memcached_command *command, const char *data,
                                              size_t length)
{
    enum memcached_result result;

    if (command->stage == STAGE_DONE)
        return MEMCACHED_DONE;
    if (command->stage == STAGE_BAD)
        return MEMCACHED_BAD;
    if (length == 0 || length < command->scanned)
        return MEMCACHED_MORE;
    result = command->binary ? memcached_packet_parse(command, data, length)
                             : parse_text(command, data, length);
    if (result == MEMCACHED_MORE)
        return result;
    command->passable = 0;
    if (result == MEMCACHED_DONE) {
        command->stage = STAGE_DONE;
        if (command->quiet && !command->binary && command->reply == MEMCACHED_LINE)
            command->reply = MEMCACHED_NONE;
    } else {
        command->stage = STAGE_BAD;
        command->swallow = command->close ? 0 : command->value_left;
        command->value_left = 0;
    }
    return result;
}

void memcached_command_pass(struct memcached_command *command)
{
    command->passed += command->passable;
    command->scanned -= command->passable;
    command->word -= command->passable;
    command->passable = 0;
}

/* Do the last two bytes, of which `left` are to come, match CRLF as far as they are present? */
static bool ends_well(const char *data, size_t length, uint64_t left)
{
    for (; left < 2 && length > 0; left++)
        if (data[--length] != (left == 0 ? '\n' : '\r'))
            return false;
    return true;
}

enum memcached_result memcached_command_value(struct memcached_command *command, const char *data,
                                              size_t length, size_t *used)
{
    size_t piece = length < command->value_left ? length : (size_t)command->value_left;

    *used = piece;
    command->value_left -= piece;
    if (!command->binary && !ends_well(data, piece, command->value_left)) {
        command->value_left = 0;
        command->close = true;
        return memcached_refuse(command, ERROR_CHUNK);
    }
    return command->value_left == 0 ? MEMCACHED_DONE : MEMCACHED_MORE;
}

uint64_t memcached_command_value_rest(const struct memcached_command *command)
{
    uint64_t end = command->binary ? 0 : 2;

    return command->value_left > end ? command->value_left - end : 0;
}

void memcached_command_value_skip(struct memcached_command *command, uint64_t length)
{
    command->value_left -= length;
}
