/* SPDX-License-Identifier: ISC */
/* Where a body ends, byte by byte. */
#include "http1/http1_internal.h"

#include <assert.h>

/* The chunked coding, RFC 9112 7.1, as a machine: what is expected next. */
enum state {
    PAYLOAD,     /* `left` bytes of payload */
    SIZE,        /* chunk-size, and what may follow it */
    SIZE_PAD,    /* after it, whitespace: ";", in a response also the end of the line */
    EXT_NEXT,    /* ";" or the end of the line, after whitespace: only ";" */
    EXT_NAME,    /* the first character of a chunk-ext-name */
    EXT_IN_NAME, /* the rest of it */
    EXT_EQUALS,  /* "=", or ";", after whitespace following a name */
    EXT_VALUE,   /* the first character of a chunk-ext-val */
    EXT_IN_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_CLOSED, /* after a value: ";" or the end of the line */
    SIZE_LF,
    DATA_CR,
    DATA_LF,
    TRAILER, /* CR: there is none */
    TRAILER_LF,
    AT_TRAILER, /* there is one */
    END,
    BROKEN
};

void http1_body_begin(struct http1_body *body, enum http1_kind kind, enum http1_framing framing,
                      uint64_t length)
{
    *body = (struct http1_body){
        .framing = framing, .state = PAYLOAD, .padded = kind == HTTP1_KIND_RESPONSE};
    if (framing == HTTP1_NO_BODY || (framing == HTTP1_LENGTH && length == 0))
        body->state = END;
    else if (framing == HTTP1_CHUNKED)
        body->state = SIZE;
    else
        body->left = framing == HTTP1_LENGTH ? length : UINT64_MAX;
}

bool http1_body_whole_at_close(const struct http1_body *body)
{
    return body->state == END || (body->framing == HTTP1_UNTIL_CLOSE && body->state != BROKEN);
}

uint64_t http1_body_rest(const struct http1_body *body)
{
    return body->framing == HTTP1_LENGTH && body->state == PAYLOAD ? body->left : 0;
}

void http1_body_skip(struct http1_body *body, uint64_t length)
{
    assert(length <= http1_body_rest(body));
    if (length == 0)
        return;
    body->left -= length;
    if (body->left == 0)
        body->state = END;
}

static bool broken(struct http1_body *body, const char *text)
{
    body->state = BROKEN;
    body->bad_text = text;
    return false;
}

/* The chunk's line ends if c is CR, or else an extension begins. */
static bool end_size(struct http1_body *body, char c)
{
    if (body->digits == 0)
        return broken(body, "a chunk has no size (RFC 9112 7.1)");
    if (c == '\r')
        body->state = SIZE_LF;
    else if (c == ';')
        body->state = EXT_NAME;
    else if (http1_is_space(c))
        body->state = SIZE_PAD;
    else
        return broken(body, "invalid chunk size (RFC 9112 7.1)");
    return true;
}

static bool take_size(struct http1_body *body, char c)
{
    int digit = http1_hex_value((unsigned char)c);

    if (digit < 0)
        return end_size(body, c);
    if (++body->digits > 16 || body->left > (uint64_t)INT64_MAX >> 4)
        return broken(body, "chunk size too large (RFC 9112 7.1)");
    body->left = body->left << 4 | (unsigned)digit;
    return true;
}

static bool start_value(struct http1_body *body, char c)
{
    if (http1_is_space(c))
        return true;
    if (c == '"')
        body->state = EXT_QUOTED;
    else if (http1_is_token((unsigned char)c))
        body->state = EXT_IN_VALUE;
    else
        return broken(body, "malformed chunk extension (RFC 9112 7.1.1)");
    return true;
}

static bool start_name(struct http1_body *body, char c)
{
    if (http1_is_space(c))
        return true;
    body->state = EXT_IN_NAME;
    return http1_is_token((unsigned char)c) ||
           broken(body, "malformed chunk extension (RFC 9112 7.1.1)");
}

/* May the line end here? */
static bool may_end(const struct http1_body *body)
{
    if (body->state == SIZE_PAD)
        return body->padded;
    return body->state != EXT_NEXT && body->state != EXT_EQUALS;
}

/* After a name or a value, whitespace must be followed by another extension. After a size, some
 * upstreams pad the line with it. */
static bool end_part(struct http1_body *body, char c)
{
    if (body->state == SIZE_PAD && http1_is_space(c))
        return true;
    if (c == '\r' && may_end(body))
        body->state = SIZE_LF;
    else if (c == ';')
        body->state = EXT_NAME;
    else if (c == '=' && (body->state == EXT_IN_NAME || body->state == EXT_EQUALS))
        body->state = EXT_VALUE;
    else if (http1_is_space(c))
        body->state =
            body->state == EXT_IN_NAME || body->state == EXT_EQUALS ? EXT_EQUALS : EXT_NEXT;
    else
        return broken(body, "malformed chunk extension (RFC 9112 7.1.1)");
    return true;
}

static bool take_quoted(struct http1_body *body, char c)
{
    if (!http1_is_line((unsigned char)c))
        return broken(body, "a control character in a chunk extension (RFC 9112 7.1.1)");
    if (body->state == EXT_ESCAPED)
        body->state = EXT_QUOTED;
    else if (c == '\\')
        body->state = EXT_ESCAPED;
    else if (c == '"')
        body->state = EXT_CLOSED;
    return true;
}

/* Extensions are meaningless to us and not passed on, but they must be well-formed, so that there
 * is no doubt where the line ends. Their size is limited by the payload they accompany. */
static bool take_extension(struct http1_body *body, char c)
{
    if (++body->extension > HTTP1_EXTENSION_MAX)
        return broken(body, "too many chunk extensions (RFC 9112 7.1.1)");
    switch (body->state) {
    case EXT_NAME:
        return start_name(body, c);
    case EXT_VALUE:
        return start_value(body, c);
    case EXT_QUOTED:
    case EXT_ESCAPED:
        return take_quoted(body, c);
    default:
        if ((body->state == EXT_IN_NAME || body->state == EXT_IN_VALUE) &&
            http1_is_token((unsigned char)c))
            return true;
        return end_part(body, c);
    }
}

static bool expect(struct http1_body *body, char c, char wanted, enum state next)
{
    if (c != wanted)
        return broken(body, "CRLF expected in a chunked body (RFC 9112 7.1)");
    body->state = (uint8_t)next;
    return true;
}

/* One byte that is not payload. */
static bool take_byte(struct http1_body *body, char c)
{
    switch (body->state) {
    case SIZE:
        return take_size(body, c);
    case SIZE_LF:
        body->digits = 0;
        return expect(body, c, '\n', body->left > 0 ? PAYLOAD : TRAILER);
    case DATA_CR:
        return expect(body, c, '\r', DATA_LF);
    case DATA_LF:
        return expect(body, c, '\n', SIZE);
    case TRAILER:
        return expect(body, c, '\r', TRAILER_LF);
    case TRAILER_LF:
        return expect(body, c, '\n', END);
    default:
        return take_extension(body, c);
    }
}

static void take_payload(struct http1_body *body, size_t available, struct http1_piece *piece)
{
    size_t length = available < body->left ? available : (size_t)body->left;

    piece->start = piece->consumed;
    piece->length = length;
    piece->consumed += length;
    body->left -= length;
    body->extension -= length < body->extension ? (uint32_t)length : body->extension;
    if (body->left == 0)
        body->state = body->framing == HTTP1_CHUNKED ? DATA_CR : END;
}

enum http1_result http1_body_feed(struct http1_body *body, const char *data, size_t length,
                                  struct http1_piece *piece)
{
    *piece = (struct http1_piece){0};
    while (piece->consumed < length && body->state < AT_TRAILER) {
        char c = data[piece->consumed];

        if (body->state == PAYLOAD) {
            take_payload(body, length - piece->consumed, piece);
            break;
        }
        if (body->state == TRAILER && c != '\r')
            body->state = AT_TRAILER;
        else if (take_byte(body, c))
            piece->consumed++;
    }
    if (body->state == BROKEN)
        *piece = (struct http1_piece){0};
    if (body->state < AT_TRAILER)
        return HTTP1_MORE;
    if (body->state == AT_TRAILER)
        return HTTP1_TRAILER;
    return body->state == END ? HTTP1_DONE : HTTP1_BAD;
}
