/* SPDX-License-Identifier: ISC */
/* What both fuzz targets do with a message: src/http1 reads it, in pieces, its body is written
 * again, and all is compared with the reference's reading. */
#ifndef KAPROXY_FUZZ_MESSAGE_H
#define KAPROXY_FUZZ_MESSAGE_H

#include "http1/http1.h"
#include "reference.h"
#include "require.h"

struct message {
    struct http1_head head, trailer;
    struct http1_body body;
    bool head_done, has_trailer;
    enum http1_result result; /* of the whole message: HTTP1_MORE, HTTP1_DONE, HTTP1_BAD */
    char *data;               /* the bytes, repaired where that was done; allocated */
    char *trailer_data;
    char *payload; /* allocated */
    size_t payload_length;
    size_t length; /* taken from data */
};

/* For a response `method` and `upgrade` (or NULL) are its request's. `closed`: the peer closes
 * after the data. `seed` 0: the data arrive at once; else in pieces that it determines. */
struct message_source {
    enum http1_kind kind;
    enum http1_method method;
    const char *upgrade;
    bool closed;
    const char *data;
    size_t length;
    unsigned seed;
};
void message_read(struct message *message, const struct message_source *source);
void message_free(struct message *message);

/* Reads the source whole and in pieces, requires the same result of both. */
void message_read_both(struct message *message, const struct message_source *source);

/* Growing output. */
struct output {
    char *data;
    size_t length;
};
void output_add(struct output *output, const char *data, size_t length);

/* The body, framed again: chunked, or as bytes. */
void output_add_body(struct output *output, const struct message *message, bool chunked);

/* The same body, and the same fields in the same order, except those that are not passed on. `skip`
 * selects fields of the program's reading that may be missing. */
void message_require_same(const struct message *message, const struct reference_message *other,
                          bool (*skip)(const struct http1_field *field));

#endif
