/* SPDX-License-Identifier: ISC */
/* Aligned columns that fit a width: then wide ones become narrower, and the least important ones
 * are left out. */
#ifndef KAPROXY_CTL_TABLE_H
#define KAPROXY_CTL_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/util.h"

/* Where text is shown. */
struct look {
    unsigned width; /* in columns; 0: as wide as need be */
    bool colour;
};

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_RED, COLOUR_YELLOW, COLOUR_INVERSE };

/* Switches a colour on, and off again; nothing without colours. */
void look_begin(FILE *out, const struct look *look, enum colour colour);
void look_end(FILE *out, const struct look *look, enum colour colour);

/* One line of text, made clean, and cut where the width ends. */
void look_line(FILE *out, const struct look *look, enum colour colour, const char *text);

struct column {
    const char *title;
    bool is_number; /* aligned on the right */
    unsigned least; /* how narrow it gets before others are left out; 0: it does not shrink */
    unsigned rank;  /* 0: always shown; the highest are left out first */
};

#define TABLE_COLUMNS_MAX 16

struct table {
    const struct column *columns;
    size_t column_count;
    char **cells; /* clean, row by row */
    enum colour *colours;
    size_t cell_count, size;
};

void table_begin(struct table *table, const struct column *columns, size_t count);

/* The next cell; each row has as many as there are columns. */
void table_add(struct table *table, const char *text);

/* The colour of the cell that was added last. */
void table_colour(struct table *table, enum colour colour);

/* Writes the titles and all rows, and frees what the table has. */
void table_end(struct table *table, FILE *out, const struct look *look);

#endif
