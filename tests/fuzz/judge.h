/* SPDX-License-Identifier: ISC */
/* What must be true of the records of far.h, whatever was sent. All is read by the reference.
 *
 *   - What an upstream received are requests that its clients sent, each client's in order, with
 *     the same method, target, body and trailer; nothing of a request that the reference refuses.
 *     A request went out twice only where that does no harm, and where no response to it had come.
 *   - A connection on which a request begins is at rest: every response was read to its end,
 * nothing more was sent, nobody said close, nobody else logged in, and the framing needed no
 * repair.
 *   - What a client received are responses in order; each whole one is the response that an
 * upstream gave to this very request, or one of kaproxy's own, which ends the connection. One that
 * is not whole is the front of such a response and shows what it is, by its framing or by a reset;
 *     where the upstream broke off, nothing is lacking that it sent. No end resets what was on its
 *     way.
 *   - JUDGE_QUIET: what an upstream answered in full has reached the client, and no client waits
 *     without a reason. */
#ifndef KAPROXY_FUZZ_JUDGE_H
#define KAPROXY_FUZZ_JUDGE_H

enum judge_when { JUDGE_QUIET, JUDGE_OVER };

/* waiting: allocations that the pool has not answered yet. */
void judge(enum judge_when when, unsigned waiting);

#endif
