/* A second, independent reader of HTTP/1 messages: the whole buffer at once, the simplest way, and
 * at least as strict as RFC 9112. What the program passes on is held against it. */
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
    bool chunked;
    char *body; /* allocated */
    size_t body_length;
    size_t length; /* of the whole message */
};

enum reference_kind {
    REFERENCE_REQUEST,
    REFERENCE_RESPONSE,
    REFERENCE_BODILESS /* a response that has no body whatever its fields say: to HEAD, say */
};

enum reference_verdict { REFERENCE_WHOLE, REFERENCE_MORE, REFERENCE_BAD };

/* The message at the front of the buffer; `closed`: no more bytes will come. */
enum reference_verdict reference_read(struct reference_message *message, enum reference_kind kind,
                                      const char *data, size_t length, bool closed);
void reference_free(struct reference_message *message);

/* How many fields have this name; the last one's value goes to `value`, when not NULL. */
size_t reference_find(const struct reference_message *message, const char *name,
                      struct reference_text *value);
bool reference_equals(struct reference_text text, const char *data, size_t length);

#endif
