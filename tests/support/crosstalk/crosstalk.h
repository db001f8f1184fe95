/* SPDX-License-Identifier: ISC */
/* Clients and upstreams that know what each other ought to say: for it_http_crosstalk and
 * it_tls_crosstalk.
 *
 *   crosstalk.c            starts both, counts, reports
 *   crosstalk_plan.c       what is to happen in one exchange, drawn at random
 *   crosstalk_wire.c       messages over blocking sockets
 *   crosstalk_tls.c        the same over TLS, for the upstream's side
 *   crosstalk_client.c     a client's exchanges, one connection after another
 *   crosstalk_upstream.c   an upstream's connections, a thread each
 *
 * Every exchange has an id, and the bytes of both bodies follow from it. */
#ifndef KAPROXY_CROSSTALK_H
#define KAPROXY_CROSSTALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/types.h>

/* ---- crosstalk.c ---- */

/* What became of an exchange. */
enum outcome {
    OUTCOME_WHOLE,       /* the upstream's whole response */
    OUTCOME_OURS,        /* an error reported by kaproxy itself */
    OUTCOME_CUT,         /* a response that was visibly truncated, or none */
    OUTCOME_ABORTED,     /* by the client */
    OUTCOME_NO_RESPONSE, /* pipelined after an exchange that ended the connection */
    OUTCOMES
};

struct run {
    uint16_t port; /* kaproxy's */
    unsigned long exchanges;
    unsigned clients;
    uint64_t seed;
    bool large;    /* most bodies are */
    bool timeouts; /* upstreams may stall forever, and timeouts expire */
    bool tls;      /* upstreams speak it */
};
extern struct run run;

/* Takes the next exchange's number, from 1 on; 0 when all are done. */
unsigned long next_id(void);
void count_outcome(enum outcome outcome);
/* The request was sent to the upstream; how often that was done before. */
unsigned count_delivery(unsigned long id);
void count_stale(void);   /* a stale connection took a request that must not be retried */
void count_timeout(void); /* kaproxy reported one */

/* Something is wrong: writes a line, and the run fails. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- crosstalk_plan.c ---- */

/* xorshift64*: each thread has its own stream. */
struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t limit);

enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

/* What the upstream does. */
enum trick {
    TRICK_NONE,
    TRICK_INTERIM,               /* sends 1xx first */
    TRICK_PAUSE,                 /* stops for some milliseconds in mid-response */
    TRICK_SAY_CLOSE,             /* announces that the connection ends, and waits for its end */
    TRICK_CLOSE_AFTER,           /* closes after its response without announcing it */
    TRICK_EXCESS,                /* sends another, unsolicited response after it */
    TRICK_SPOILED,               /* from here on the exchange cannot succeed */
    TRICK_EARLY = TRICK_SPOILED, /* responds before it has read the body, and closes */
    TRICK_EARLY_STAYS,           /* responds before it has read the body, then reads it */
    TRICK_CLOSE_BEFORE,          /* closes without a response */
    TRICK_RESET_BEFORE,
    TRICK_SHORT, /* closes in mid-response */
    TRICK_RESET,
    TRICK_GARBAGE, /* breaks the framing */
    TRICK_STALL,   /* stops forever */
    TRICK_CUT,     /* FIN in mid-response without close_notify; the framing may not show it */
    TRICKS
};

/* What the client does. */
enum whim {
    WHIM_NONE,
    WHIM_HALF_CLOSE, /* FIN after the request, then reads */
    WHIM_SLOW,       /* pauses while it reads */
    WHIM_SPOILED,
    WHIM_FIN_IN_REQUEST = WHIM_SPOILED,
    WHIM_RESET_IN_REQUEST,
    WHIM_RESET_WAITING,
    WHIM_RESET_IN_RESPONSE,
    WHIMS
};

struct plan {
    unsigned long id;
    const char *method;
    bool is_10;
    bool keep_alive; /* the client would like to continue */
    enum framing request_framing, response_framing;
    size_t request_size, response_size;
    enum trick trick;
    enum whim whim;
    size_t at; /* where in a body a trick or whim happens, in thousandths */
};

void plan_draw(struct plan *plan, struct random *random, unsigned long id);
/* A small one without whims, to be pipelined. */
void plan_draw_small(struct plan *plan, struct random *random, unsigned long id);
/* As a field of the request; and back from the upstream's view of it. */
#define PLAN_TEXT_MAX 160
void plan_format(const struct plan *plan, char text[PLAN_TEXT_MAX]);
bool plan_parse(struct plan *plan, const char *head);
bool plan_is(const struct plan *plan, const char *method);
/* Neither side spoils this exchange. */
bool plan_is_plain(const struct plan *plan);

/* ---- crosstalk_wire.c ---- */

#define HEAD_MAX 4096

struct wire {
    int fd;
    SSL *tls;    /* NULL: plain */
    bool broken; /* ended by a reset or an error; with TLS also by EOF without close_notify */
    size_t start, end;
    char data[32768];
};

enum side { SIDE_REQUEST, SIDE_RESPONSE };

void wire_prepare(void); /* makes the bytes of all bodies */
void wire_begin(struct wire *wire, int fd);
void wire_close(struct wire *wire); /* in order: with close_notify */
void wire_cut(struct wire *wire);   /* without */
void wire_reset(struct wire *wire); /* with RST */

/* 0, or -1: the peer accepts no more. */
int wire_send(struct wire *wire, const void *data, size_t length);
/* A body's first `upto` bytes; all of them: with its end. */
int wire_send_body(struct wire *wire, const struct plan *plan, enum side side, size_t upto,
                   struct random *random);

/* A header with its empty line, as a string; false: the connection ended before. */
bool wire_read_head(struct wire *wire, char head[HEAD_MAX]);
/* A field's value up to the line's end; NULL: there is none. Names end with a colon. */
const char *head_find(const char *head, const char *name);
enum framing head_framing(const char *head, size_t *length);

enum body_end {
    BODY_WHOLE,
    BODY_CUT,  /* the peer ended before */
    BODY_WRONG /* other bytes, or broken framing; reported */
};
/* Reads and compares; *got: payload bytes. stop: stops after that many. */
enum body_end wire_read_body(struct wire *wire, const struct plan *plan, enum side side,
                             enum framing framing, size_t length, size_t stop, size_t *got);
/* Nothing but the end may follow. */
bool wire_is_at_end(struct wire *wire);

/* ---- crosstalk_tls.c ---- */

/* Loads what all connections share; exits if that fails. */
void tls_prepare(const char *certificate, const char *key);
/* Puts TLS on a wire: 1.3, now and then 1.2. False: the peer left. */
bool tls_accept(struct wire *wire, struct random *random);
/* As recv and send; a receive of 0 is close_notify. Fatal errors make the wire broken, and anything
 * that is not TLS is reported. */
ssize_t tls_receive(struct wire *wire, void *data, size_t size);
ssize_t tls_send(struct wire *wire, const void *data, size_t length);
void tls_end(struct wire *wire);  /* sends close_notify, if it still can */
void tls_free(struct wire *wire); /* sends nothing */

/* ---- the two sides ---- */

void *client_run(void *number);
void *upstream_run(void *listener); /* accepts until the descriptor is shut down */

#endif
