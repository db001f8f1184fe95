# SPDX-License-Identifier: ISC
"""What the integration tests share: TAP, kaproxy under test, clients, scripted and real peers.

A test file looks like this; `t` ends whatever was started through it, in reverse order:

    @test("an answer comes back")
    def answer(t):
        upstream = t.upstream(answer_lines)
        kaproxy = t.kaproxy(upstream.endpoint)
        t.equal(kaproxy.connect().ask(b"x"), b"1 x")

    main()
"""

from .channel import Channel, connect
from .kaproxy import Kaproxy
from .ports import Blackhole, ReservedPort, free_port
from .tap import LONG, SLOW, Failure, Skip, WAIT_MAX, main, spawn, test, wait_until
from .upstream import ScriptedUpstream, answer_lines

__all__ = [
    "Blackhole", "Channel", "Failure", "Kaproxy", "LONG", "ReservedPort", "SLOW", "WAIT_MAX",
    "ScriptedUpstream", "Skip", "answer_lines", "connect", "free_port", "main", "spawn",
    "test", "wait_until",
]
