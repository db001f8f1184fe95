/* SPDX-License-Identifier: ISC */
/* The far ends of the program's connections: its clients and its upstreams, each at the other side
 * of a socketpair. All input and output is recorded. */
#ifndef KAPROXY_FUZZ_FAR_H
#define KAPROXY_FUZZ_FAR_H

#include <stdbool.h>
#include <stddef.h>

#include "message.h"

#define FAR_CLIENTS   4
#define FAR_UPSTREAMS 64

/* A run of bytes that only grows, except for what far.c has sent of it. */
struct far_bytes {
    char *data;
    size_t length, size;
};

/* Bytes arrived: where in `rx` they begin, and what had been sent until then. */
struct far_mark {
    size_t rx, tx;
    unsigned serial; /* over all ends */
};

struct far {
    int fd;                   /* -1: closed by us */
    int program_fd;           /* the other side's, unless the program has closed it */
    struct far_bytes tx, rx;  /* what the socket took, what arrived */
    struct far_bytes pending; /* to be sent as soon as there is space */
    size_t pending_sent;
    bool paused;    /* reads nothing */
    bool finished;  /* our direction has ended, after all of tx */
    bool ended;     /* the program's direction has ended */
    bool was_reset; /* the program reset it */
    bool was_lost;  /* over TCP, its end would destroy what had not been received yet */
    size_t came;    /* bytes that arrived, unread ones included */
    struct far_mark *marks;
    size_t mark_count;
};

/* The program requested another connection, to retry a request of this client. */
struct far_retry {
    size_t client;
    unsigned serial;
};

struct far_world {
    struct far clients[FAR_CLIENTS], upstreams[FAR_UPSTREAMS];
    size_t client_count, upstream_count;
    struct far_retry *retries;
    size_t retry_count;
    struct far *last_received; /* the upstream that last received something */
    bool small_buffers;
    bool streams; /* the program passes a request on before it is complete, however short it is */
    unsigned serial;
    unsigned long activity; /* counts everything that happens */
};

extern struct far_world far_world;

void far_reset_world(void);

/* Makes a far end; returns the program's descriptor, or -1 if there are too many. */
int far_open_client(void);
int far_open_upstream(void);

void far_send(struct far *far, const char *data, size_t length);
void far_finish(struct far *far); /* FIN; pending bytes are dropped */
void far_close(struct far *far);  /* without reading the pending bytes: a reset then */

void far_note_retry(size_t client);

/* Sends and receives what it can. */
void far_pump(void);

#endif
