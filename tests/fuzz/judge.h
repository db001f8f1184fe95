/* SPDX-License-Identifier: ISC */
/* What must hold for the records of far.h, whatever was sent. The reference reads all of it.
 *
 *   - What an upstream received are requests that its clients sent, each client's in order, with
 *     the same method, target, body and trailer, and nothing of a request that the reference
 *     rejects. A request was retried only where that does no harm, and where no response to it had
 *     arrived.
 *   - A connection on which a request begins is idle: every response was read to its end, nothing
 *     more was sent, neither side announced its close, no other client logged in, and the framing
 *     needed no repair.
 *   - What a client received are responses in order; each complete one is the response that an
 *     upstream gave to this very request, or a local reply, which ends the connection. An
 *     incomplete one is a prefix of such a response and visibly truncated, by its framing or by a
 *     reset; where the upstream broke off, nothing that it sent is missing. No end resets bytes in
 *     flight.
 *   - JUDGE_QUIET: what an upstream answered in full has reached the client, and no client waits
 *     without a reason. */
#ifndef KAPROXY_FUZZ_JUDGE_H
#define KAPROXY_FUZZ_JUDGE_H

enum judge_when { JUDGE_QUIET, JUDGE_OVER };

/* waiting: allocations that the pool has not answered yet. */
void judge(enum judge_when when, unsigned waiting);

#endif
