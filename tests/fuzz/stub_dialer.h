/* SPDX-License-Identifier: ISC */
/* In place of the dialer: a dial is answered with one side of a socketpair. */
#ifndef KAPROXY_FUZZ_STUB_DIALER_H
#define KAPROXY_FUZZ_STUB_DIALER_H

enum stub_response { STUB_CONNECT, STUB_REFUSE, STUB_HOLD };

/* How dials are answered from now on, those that are held included. */
void stub_dialer_set(enum stub_response response);

#endif
