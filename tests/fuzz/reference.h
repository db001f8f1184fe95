/* SPDX-License-Identifier: ISC */
/* A second, independent reader of HTTP/1 messages: the whole buffer at once, the simplest way. What
 * the program accepts and what it passes on are compared with it. What the program sends must keep
 * every rule of RFC 9112; in what it receives, what the program tolerates is tolerated, and no
 * more. */
#ifndef KAPROXY_REFERENCE_H
#define KAPROXY_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

#define REFERENCE_FIELD_MAX 256

struct reference_text {
    const char *data;
    size_t length;
};

struct reference_field {
    struct reference_text name, value;
};

struct reference_message {
    struct reference_text start[3]; /* the parts of the start line */
    struct reference_field fields[REFERENCE_FIELD_MAX], trailers[REFERENCE_FIELD_MAX];
    size_t field_count, trailer_count;
    bool head_done;
    bool repaired; /* so that nothing may be read after it */
    bool chunked;
    bool framed; /* chunked or of a length above 0, even if there is no body */
    char *head;  /* allocated: a received one, repaired; what is above points there */
    char *body;  /* allocated */
    size_t body_length;
    size_t length; /* of the whole message */
};

enum reference_kind {
    REFERENCE_REQUEST,
    REFERENCE_RESPONSE,
    REFERENCE_BODILESS /* a response that has no body whatever its fields say, as to HEAD */
};

enum reference_verdict { REFERENCE_WHOLE, REFERENCE_MORE, REFERENCE_BAD };

struct reference_bytes {
    const char *data;
    size_t length;
    bool received; /* by the program; else it sent them */
    bool closed;   /* no more will arrive */
};

/* The message at the start of the bytes. */
enum reference_verdict reference_read(struct reference_message *message, enum reference_kind kind,
                                      const struct reference_bytes *bytes);
void reference_free(struct reference_message *message);

/* How many fields have this name; the last one's value goes to `value`, unless NULL. */
size_t reference_find(const struct reference_message *message, const char *name,
                      struct reference_text *value);

/* Takes the next member off the front of a list that we composed ("a, b"). False: none is left. */
bool reference_next(struct reference_text *list, struct reference_text *member);
bool reference_equals(struct reference_text text, const char *data, size_t length);

#endif
