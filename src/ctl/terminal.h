/* SPDX-License-Identifier: ISC */
/* The terminal: its size, its keys, and full-screen mode. */
#ifndef KAPROXY_CTL_TERMINAL_H
#define KAPROXY_CTL_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/table.h"

/* As wide as standard output, or as COLUMNS says; with colours if it is a terminal and NO_COLOR is
 * not set. */
struct look terminal_look(void);

/* Columns and rows of the terminal; 80 and 24 if it does not report them. */
unsigned terminal_columns(void);
unsigned terminal_rows(void);

/* Are standard input and output a terminal that can be drawn on? */
bool terminal_is_capable(void);

/* Enters full-screen mode and reads every key. While *stop is set nothing is drawn. 0, or -1 with
 * errno. At exit the terminal is restored if it was not; a second terminal_close is harmless. */
MUST_CHECK int terminal_open(volatile const sig_atomic_t *stop);
void terminal_close(void);

/* Draws `text` from the upper left corner; no line may be wider than the terminal. */
void terminal_draw(const char *text, size_t length);

enum key {
    KEY_NONE, /* no more at the moment */
    KEY_END,  /* there will be no more */
    KEY_OTHER,
    KEY_UP,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_LAST,
    KEY_CHARACTER
};

/* Bytes of keys; a sequence may arrive in pieces. */
struct keys {
    unsigned char bytes[64];
    size_t length;
};

/* The next key, without waiting; *character is the one of KEY_CHARACTER. */
enum key terminal_key(struct keys *keys, char *character);

#endif
