/* SPDX-License-Identifier: ISC */
/* A queue behind a lock, and an eventfd to wake its thread. */
#include "net/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *mailbox)
{
    *mailbox = (struct mailbox){.lock = PTHREAD_MUTEX_INITIALIZER};
    TAILQ_INIT(&mailbox->messages);
    mailbox->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return mailbox->bell < 0 ? -1 : 0;
}

void mailbox_clear(struct mailbox *mailbox)
{
    struct message *message;
    if (mailbox->bell < 0)
        return;
    while ((message = TAILQ_FIRST(&mailbox->messages)) != NULL) {
        TAILQ_REMOVE(&mailbox->messages, message, link);
        message->posted = false;
    }
    pthread_mutex_destroy(&mailbox->lock);
    close(mailbox->bell);
    mailbox->bell = -1;
}

void mailbox_post(struct mailbox *mailbox, struct message *message)
{
    bool rings = false;
    pthread_mutex_lock(&mailbox->lock);
    if (!message->posted) {
        message->posted = true;
        TAILQ_INSERT_TAIL(&mailbox->messages, message, link);
        mailbox->count++;
        rings = !mailbox->rung;
        mailbox->rung = true;
    }
    pthread_mutex_unlock(&mailbox->lock);
    if (rings)
        eventfd_write(mailbox->bell, 1); /* outside the lock: a superfluous ring does no harm */
}

void mailbox_take_back(struct mailbox *mailbox, struct message *message)
{
    pthread_mutex_lock(&mailbox->lock);
    if (message->posted) {
        TAILQ_REMOVE(&mailbox->messages, message, link);
        message->posted = false;
        mailbox->count--;
    }
    pthread_mutex_unlock(&mailbox->lock);
}

int mailbox_descriptor(const struct mailbox *mailbox)
{
    return mailbox->bell;
}

/* From now on posting rings again. Returns how many messages there are. */
static size_t open_mailbox(struct mailbox *mailbox)
{
    eventfd_t rings;
    eventfd_read(mailbox->bell, &rings); /* first, so that any ring after this is seen */
    pthread_mutex_lock(&mailbox->lock);
    size_t count = mailbox->count;
    mailbox->rung = false;
    pthread_mutex_unlock(&mailbox->lock);
    return count;
}

static struct message *take_first(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    struct message *message = TAILQ_FIRST(&mailbox->messages);
    TAILQ_REMOVE(&mailbox->messages, message, link);
    message->posted = false;
    mailbox->count--;
    pthread_mutex_unlock(&mailbox->lock);
    return message;
}

void mailbox_run(struct mailbox *mailbox)
{
    for (size_t count = open_mailbox(mailbox); count > 0; count--) {
        struct message *message = take_first(mailbox);
        message->run(message);
    }
}
