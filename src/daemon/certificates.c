/* SPDX-License-Identifier: ISC */
/* Checks all certificates once a day, and warns of those that are about to expire. */
#include "daemon/certificates.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "net/endpoint.h"

/* How often to check whether a day has passed: the wall clock may be set. */
#define INTERVAL (3600 * USEC_PER_SEC)

#define NAMES_MAX 256

/* Writes the names of the listeners with this client, "a,b"; returns the first of them. */
static const struct config_listener *find_listeners(const struct certificates *certificates,
                                                    const struct tls_client *client,
                                                    char names[NAMES_MAX])
{
    const struct config *config = certificates->config;
    const struct config_listener *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (n >= NAMES_MAX ||
            tls_clients_find(certificates->clients, &listener->upstream) != client)
            continue;
        n += (size_t)snprintf(names + n, NAMES_MAX - n, "%s%s", n > 0 ? "," : "", listener->name);
        if (first == NULL)
            first = listener;
    }
    return first;
}

static void warn(const struct certificates *certificates, const struct tls_client *client,
                 enum tls_whose whose, const struct tls_expiry *expiry, time_t now)
{
    char names[NAMES_MAX], upstream[ENDPOINT_TEXT_MAX], ends[32];
    char subject[2 * sizeof(expiry->subject) + 2];
    const struct config_listener *listener = find_listeners(certificates, client, names);
    struct tm tm;
    if (listener == NULL)
        return;
    strftime(ends, sizeof(ends), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&expiry->end, &tm));
    log_quote(subject, sizeof(subject), expiry->subject, strlen(expiry->subject));
    log_warning("certificate %s: listener=%s %s=%s subject=%s ends=%s days_left=%ld",
                expiry->end <= now ? "has expired" : "expires soon", names,
                whose == TLS_OURS ? "tls_cert_file" : "upstream",
                whose == TLS_OURS ? listener->tls_cert_file
                                  : endpoint_format(&listener->upstream, upstream),
                subject, ends, tls_expiry_days(expiry, now));
}

static void check(const struct certificates *certificates, struct tls_client *client, time_t now)
{
    for (enum tls_whose whose = TLS_OURS; whose <= TLS_UPSTREAMS; whose++) {
        const struct tls_expiry *expiry = tls_client_expiring(client, whose, now);
        if (expiry != NULL)
            warn(certificates, client, whose, expiry, now);
    }
}

void certificates_check(const struct certificates *certificates, time_t now)
{
    for (size_t i = 0; i < certificates->clients->count; i++)
        check(certificates, certificates->clients->list[i].client, now);
}

static void on_seen(struct tls_expiry_watch *watch, struct tls_client *client)
{
    check(container_of(watch, struct certificates, watch), client, time(NULL));
}

static int set_timer(struct certificates *certificates)
{
    struct loop *loop = certificates->loop;
    return loop_set_timer(loop, &certificates->timer, loop_now(loop) + INTERVAL);
}

static void on_interval(struct timer *timer)
{
    struct certificates *certificates = container_of(timer, struct certificates, timer);
    certificates_check(certificates, time(NULL));
    if (set_timer(certificates) < 0)
        log_error("no memory for the timer that checks certificates");
}

int certificates_start(struct certificates *certificates, struct loop *loop,
                       const struct config *config, const struct tls_clients *clients)
{
    *certificates = (struct certificates){.config = config,
                                          .clients = clients,
                                          .loop = loop,
                                          .timer.fire = on_interval,
                                          .watch.seen = on_seen};
    if (clients->count == 0)
        return 0;
    for (size_t i = 0; i < clients->count; i++)
        tls_client_watch_expiry(clients->list[i].client, &certificates->watch);
    certificates_check(certificates, time(NULL));
    return set_timer(certificates);
}

void certificates_stop(struct certificates *certificates)
{
    if (certificates->loop == NULL)
        return;
    for (size_t i = 0; i < certificates->clients->count; i++)
        tls_client_watch_expiry(certificates->clients->list[i].client, NULL);
    loop_clear_timer(certificates->loop, &certificates->timer);
}
