/* SPDX-License-Identifier: ISC */
/* Aligned columns that fit a width: if they do not, wide ones are narrowed and the least important
 * ones left out. */
#ifndef KAPROXY_CTL_TABLE_H
#define KAPROXY_CTL_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/util.h"

/* Where text is shown. */
struct look {
    unsigned width; /* in columns; 0: unlimited */
    bool colour;
};

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_RED, COLOUR_YELLOW, COLOUR_INVERSE };

/* Switches a colour on, and off again; does nothing without colours. */
void look_begin(FILE *out, const struct look *look, enum colour colour);
void look_end(FILE *out, const struct look *look, enum colour colour);

/* One line of clean text, truncated to the width. */
void look_line(FILE *out, const struct look *look, enum colour colour, const char *text);

struct column {
    const char *title;
    bool is_number; /* right-aligned */
    unsigned least; /* how far it shrinks before others are left out; 0: it does not shrink */
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

/* Adds a cell; each row has as many as there are columns. */
void table_add(struct table *table, const char *text);

/* The colour of the cell that was added last. */
void table_colour(struct table *table, enum colour colour);

/* Writes the titles and all rows, and frees the table's contents. */
void table_end(struct table *table, FILE *out, const struct look *look);

#endif
