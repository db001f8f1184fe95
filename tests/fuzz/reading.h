/* SPDX-License-Identifier: ISC */
/* What the judge sees in the records: requests and responses, read by the reference. */
#ifndef KAPROXY_FUZZ_READING_H
#define KAPROXY_FUZZ_READING_H

#include "reference.h"

/* The fields of a complete message's trailer; allocated. */
struct trailer_view {
    struct reference_field *fields;
    size_t count;
};

struct request_view {
    enum reference_verdict verdict;
    size_t length; /* of all of it, when complete */
    bool head_done;
    bool expects, upgrades; /* Expect, Upgrade */
    bool is_10;
    bool persists;                        /* the client means to continue after it */
    bool logs_in;                         /* with NTLM or Negotiate */
    struct reference_text method, target; /* length 0: not read */
    struct reference_text client;         /* who sent it, as kaproxy says */
    char *body;                           /* as far as it arrived; allocated */
    size_t body_length;
    struct trailer_view trailer;
    char *head; /* what the texts point into, unless the data; allocated */
};

void request_read(struct request_view *request, const struct reference_bytes *bytes);
void request_clear(struct request_view *request);

/* The same request, as far as `other` (what was passed on) extends. */
bool request_is_passed_on(const struct request_view *request, const struct request_view *other);

bool method_is(const struct request_view *request, const char *method);
bool method_is_idempotent(const struct request_view *request);

/* The final response to a request, with the interim ones before it. */
struct response_view {
    enum reference_verdict verdict;
    size_t length; /* with what precedes it, when complete */
    size_t interims;
    unsigned status;
    bool chunked;
    bool ends_connection; /* by its framing, or because it says so */
    bool repaired;        /* it, or an interim one: nothing may be read after it */
    bool tunnel;          /* what follows are opaque bytes */
    bool is_plain_text;
    char *body; /* allocated */
    size_t body_length;
    struct trailer_view trailer;
};

/* closed: the sender ended in order after these bytes. */
void response_read(struct response_view *response, const struct request_view *request,
                   const struct reference_bytes *bytes);
void response_clear(struct response_view *response);

/* Has every field of `other` (what was passed on) been sent, in this order? Some fields may not
 * be in a trailer, and are left out. */
bool trailer_is_passed_on(const struct trailer_view *trailer, const struct trailer_view *other);

#endif
