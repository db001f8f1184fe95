/* SPDX-License-Identifier: ISC */
/* The terminal: its size, its keys, and the whole of it for a while. */
#ifndef KAPROXY_CTL_TERMINAL_H
#define KAPROXY_CTL_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/table.h"

/* As wide as standard output is, or as COLUMNS says, with colours, if that is a terminal (and
 * NO_COLOR is not set). */
struct look terminal_look(void);

/* Columns and rows of the terminal; 80 and 24 where it does not say. */
unsigned terminal_columns(void);
unsigned terminal_rows(void);

/* Are standard input and output one that can be drawn on? */
bool terminal_is_capable(void);

/* Takes the whole screen and every key. While *stop is set nothing is drawn. 0, or -1 with errno.
 * At exit all is given back that still is taken; a second terminal_close is harmless. */
MUST_CHECK int terminal_open(volatile const sig_atomic_t *stop);
void terminal_close(void);

/* Draws `text`, of which no line is wider than the terminal, from the upper left corner on. */
void terminal_draw(const char *text, size_t length);

enum key {
    KEY_NONE, /* no more are there */
    KEY_END,  /* there will be none */
    KEY_OTHER,
    KEY_UP,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_LAST,
    KEY_CHARACTER
};

/* Bytes of keys; a sequence may come in pieces. */
struct keys {
    unsigned char bytes[64];
    size_t length;
};

/* The next key, without waiting for one; *character is which for KEY_CHARACTER. */
enum key terminal_key(struct keys *keys, char *character);

#endif
