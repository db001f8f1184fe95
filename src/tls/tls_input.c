/* SPDX-License-Identifier: ISC */
/* A BIO that reads many records at once, into the memory that a reader provides. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tls/tls_internal.h"

static struct tls_input *input_of(BIO *bio)
{
    return BIO_get_data(bio);
}

/* Waiting bytes go first. */
static size_t give(struct tls_input *input, char *data, size_t size)
{
    if (size > input->left)
        size = input->left;
    memcpy(data, input->next, size);
    input->next += size;
    input->left -= size;
    if (input->left == 0)
        tls_input_drop(input);
    return size;
}

/* One system call reads what OpenSSL asks for, and what follows into the borrowed memory.
 *
 * OpenSSL writes plain text to the front of that memory before it has asked for the last of the
 * bytes waiting there, and must not overwrite them. It calls only if it lacks the rest of one
 * record, most of which it may already hold, and receives `size` more bytes. The plain text, never
 * longer than its records, can be ahead of the consumed bytes by that much at most. */
static ssize_t receive(struct tls_input *input, char *data, size_t size)
{
    size_t gap = SSL3_RT_MAX_PACKET_SIZE + size;
    size_t total = size;
    ssize_t n;
    if (input->room_size > gap) {
        struct iovec parts[] = {{data, size}, {input->room + gap, input->room_size - gap}};
        total += parts[1].iov_len;
        n = readv(input->fd, parts, ARRAY_LEN(parts));
    } else {
        n = recv(input->fd, data, size, 0);
    }
    input->drained = n < (ssize_t)total;
    if (n <= (ssize_t)size)
        return n;
    input->next = input->room + gap;
    input->left = (size_t)n - size;
    return (ssize_t)size;
}

static int on_read(BIO *bio, char *data, int size)
{
    struct tls_input *input = input_of(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;
    if (input->left > 0)
        return (int)give(input, data, (size_t)size);
    if (input->enough) {
        errno = EAGAIN;
        BIO_set_retry_read(bio);
        return -1;
    }
    ssize_t n = receive(input, data, (size_t)size);
    input->ended = n == 0;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)n;
}

static long on_control(BIO *bio, int command, long number, void *arg)
{
    (void)number;
    (void)arg;
    return command == BIO_CTRL_EOF && input_of(bio)->ended;
}

BIO_METHOD *tls_input_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "kaproxy");
    if (method == NULL)
        return NULL;
    if (BIO_meth_set_read(method, on_read) == 1 && BIO_meth_set_ctrl(method, on_control) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

BIO *tls_input_bio(struct tls_input *input, const BIO_METHOD *method)
{
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, input);
    BIO_set_init(bio, 1);
    return bio;
}

void tls_input_borrow(struct tls_input *input, void *memory, size_t size, bool enough)
{
    input->room = memory;
    input->room_size = size;
    input->enough = enough;
}

int tls_input_own(struct tls_input *input)
{
    tls_input_borrow(input, NULL, 0, false);
    if (input->left == 0 || input->kept != NULL)
        return 0;
    input->kept = malloc(input->left);
    if (input->kept == NULL) {
        tls_input_drop(input);
        return -1;
    }
    memcpy(input->kept, input->next, input->left);
    input->next = input->kept;
    return 0;
}

void tls_input_drop(struct tls_input *input)
{
    free(input->kept);
    input->kept = NULL;
    input->next = NULL;
    input->left = 0;
}
