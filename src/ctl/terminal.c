/* SPDX-License-Identifier: ISC */
/* termios, and the escape sequences that all current terminals have. */
#include "ctl/terminal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* The alternate screen, no cursor, no wrapping; and back. */
#define TAKE "\033[?1049h\033[?25l\033[?7l\033[2J"
#define GIVE "\033[m\033[?7h\033[?25h\033[?1049l"

static struct termios before;
static bool is_open;
static volatile const sig_atomic_t *give_up;

static bool is_dumb(void)
{
    const char *term = getenv("TERM");
    return term == NULL || *term == '\0' || strcmp(term, "dumb") == 0;
}

/* COLUMNS; 0: not set. */
static unsigned wanted_columns(void)
{
    const char *text = getenv("COLUMNS");
    char *end;
    unsigned long columns = text == NULL ? 0 : strtoul(text, &end, 10);
    return columns > 0 && columns < 10000 && *end == '\0' ? (unsigned)columns : 0;
}

struct look terminal_look(void)
{
    const char *plain = getenv("NO_COLOR");
    struct look look = {.width = 0};
    if (isatty(STDOUT_FILENO) != 1)
        return look;
    look.colour = (plain == NULL || *plain == '\0') && !is_dumb();
    look.width = wanted_columns();
    if (look.width == 0)
        look.width = terminal_columns();
    return look;
}

unsigned terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

unsigned terminal_rows(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
        return size.ws_row;
    return 24;
}

bool terminal_is_capable(void)
{
    return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 && !is_dumb();
}

/* The terminal's reader may have stopped: a signal ends that wait too. */
static void write_all(const char *text, size_t length)
{
    while (length > 0 && (give_up == NULL || !*give_up)) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0 && errno == EAGAIN) {
            if (poll(&(struct pollfd){STDOUT_FILENO, POLLOUT, 0}, 1, -1) < 0)
                return;
            continue;
        }
        if (written < 0)
            return;
        text += written;
        length -= (size_t)written;
    }
}

int terminal_open(volatile const sig_atomic_t *stop)
{
    static bool is_registered;
    give_up = NULL;
    if (!is_registered && atexit(terminal_close) != 0)
        return -1;
    is_registered = true;
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return -1;
    struct termios keys = before;
    keys.c_iflag &= ~(tcflag_t)IXON; /* Ctrl-S would stop all output */
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 0;
    keys.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &keys) < 0)
        return -1;
    is_open = true;
    write_all(TAKE, strlen(TAKE));
    give_up = stop;
    return 0;
}

void terminal_close(void)
{
    if (!is_open)
        return;
    is_open = false;
    give_up = NULL;
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    /* If earlier output is not read, this is not either. */
    if (poll(&(struct pollfd){STDOUT_FILENO, POLLOUT, 0}, 1, 1000) > 0)
        write_all(GIVE, strlen(GIVE));
}

void terminal_draw(const char *text, size_t length)
{
    char *frame = NULL;
    size_t size;
    FILE *out = open_memstream(&frame, &size);
    if (out == NULL)
        return;
    fputs("\033[H", out);
    for (const char *end; length > 0; length -= (size_t)(end - text) + 1, text = end + 1) {
        end = memchr(text, '\n', length);
        if (end == NULL)
            break;
        /* Before the text: after a line as wide as the terminal it would erase its last
         * character. */
        fputs("\033[K", out);
        fwrite(text, 1, (size_t)(end - text), out);
        if (length > (size_t)(end - text) + 1)
            fputs("\r\n", out);
    }
    fputs("\033[J", out);
    if (fclose(out) == 0)
        write_all(frame, size);
    free(frame);
}

/* ESC [ ... letter, or ESC O letter: its length; 0: incomplete. */
static size_t sequence_length(const struct keys *keys)
{
    if (keys->length < 2)
        return 0;
    if (keys->bytes[1] == 'O')
        return keys->length < 3 ? 0 : 3;
    if (keys->bytes[1] != '[')
        return 1;
    for (size_t i = 2; i < keys->length; i++) {
        if (keys->bytes[i] >= 0x40 && keys->bytes[i] <= 0x7e)
            return i + 1;
    }
    return keys->length == sizeof(keys->bytes) ? keys->length : 0;
}

static enum key sequence_key(const struct keys *keys, size_t length)
{
    static const struct {
        const char *text;
        enum key key;
    } known[] = {{"A", KEY_UP},       {"B", KEY_DOWN},       {"H", KEY_HOME},  {"F", KEY_LAST},
                 {"5~", KEY_PAGE_UP}, {"6~", KEY_PAGE_DOWN}, {"1~", KEY_HOME}, {"4~", KEY_LAST},
                 {"7~", KEY_HOME},    {"8~", KEY_LAST}};
    for (size_t i = 0; i < ARRAY_LEN(known) && length > 2; i++) {
        if (length - 2 == strlen(known[i].text) &&
            memcmp(keys->bytes + 2, known[i].text, length - 2) == 0)
            return known[i].key;
    }
    return KEY_OTHER;
}

static void drop(struct keys *keys, size_t count)
{
    keys->length -= count;
    memmove(keys->bytes, keys->bytes + count, keys->length);
}

static enum key more(struct keys *keys)
{
    struct pollfd in = {STDIN_FILENO, POLLIN, 0};
    if (poll(&in, 1, 0) <= 0)
        return KEY_NONE;
    ssize_t length =
        read(STDIN_FILENO, keys->bytes + keys->length, sizeof(keys->bytes) - keys->length);
    if (length < 0 && (errno == EINTR || errno == EAGAIN))
        return KEY_NONE;
    if (length <= 0)
        return KEY_END;
    keys->length += (size_t)length;
    return KEY_OTHER;
}

enum key terminal_key(struct keys *keys, char *character)
{
    for (;;) {
        bool is_sequence = keys->length > 0 && keys->bytes[0] == 033;
        size_t length = is_sequence ? sequence_length(keys) : keys->length > 0;
        if (length > 0) {
            enum key key = is_sequence ? sequence_key(keys, length) : KEY_CHARACTER;
            *character = (char)keys->bytes[0];
            drop(keys, length);
            return key;
        }
        enum key read = more(keys);
        if (read != KEY_OTHER)
            return read;
    }
}
