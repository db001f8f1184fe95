#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: handshakes, finished and failed ones in turn, leave no memory and no
descriptors behind."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, ScriptedUpstream, main, test, wait_until
from kaptest.http_peers import run, url
from kaptest.tls import handshakes, settings, start
from kaptest.tls_peers import Nginx

EACH = 5 if SLOW else 100  # handshakes of each kind in a round
# The heap takes some rounds to grow to its size: about 150 KB in the first ten of them, on a busy
# machine or not, and 20 KB in the next fifty. A leak continues: over the second half, with its 1000
# handshakes of each kind, PLATEAU is 131 bytes for each of one kind.
ROUNDS = 2 if SLOW else 20
PLATEAU = 128 << 10


def break_off(connection):
    """In the middle of the handshake."""
    connection.receive()
    if connection.number % 2:
        connection.reset()


def ask(t, kaproxy, listener, status):
    output, _ = run(t, "ab", "-q", "-c", "4", "-n", EACH, url(kaproxy, "/", listener))
    counts = dict(re.findall(r"^([A-Z][\w -]+):\s+(\d+)$", output.decode(), flags=re.M))
    t.equal(counts["Complete requests"], str(EACH), "responses")
    t.equal(counts.get("Non-2xx responses", "0"), "0" if status == 200 else str(EACH),
            f"responses other than 2xx from {listener}")


@test("8000 handshakes: full and resumed ones, refused by us, broken off by the upstream")
def flat(t):
    full = t.own(Nginx(t, "ssl_session_tickets off; ssl_session_cache none;"))
    resumed = t.own(Nginx(t, "ssl_protocols TLSv1.2;"))
    broken = t.own(ScriptedUpstream(break_off))
    full.put("index.html", b"hello")
    more = {
        f"listener {name}": {"listen": "127.0.0.1:{port}", "upstream": endpoint,
                             **settings(tls_server_name=server)}
        for name, endpoint, server in [
            ("resumed", resumed.endpoint, "upstream.test"),
            ("refused", full.endpoint, "other.test"),
            ("broken", f"https://127.0.0.1:{broken.port}", "upstream.test")]}
    # The lines of the access log would wait in memory, and the later their writer runs the more of
    # them: up to 1 MiB, which is not a leak.
    kaproxy = start(t, full, more=more, pool={"max_uses": 1},
                    main={"log_level": "notice", "access_log": "off"})
    kinds = [("main", 200), ("resumed", 200), ("refused", 502), ("broken", 502)]
    memory, descriptors = [], kaproxy.descriptors()
    for _ in range(ROUNDS):
        for listener, status in kinds:
            ask(t, kaproxy, listener, status)
        wait_until(lambda: kaproxy.descriptors() <= descriptors, "all descriptors to be closed")
        memory.append(kaproxy.private_memory())
    print("# KB after each round:", *(size >> 10 for size in memory), flush=True)
    if not SLOW:
        t.at_most(memory[-1] - memory[ROUNDS // 2 - 1], PLATEAU, "bytes more in the second half")
    total = EACH * ROUNDS
    t.equal(handshakes(kaproxy), (total, 0, 0), "full ones")
    first = handshakes(kaproxy, "resumed")
    t.equal((first[0] + first[1], first[2]), (total, 0), "resumed ones")
    t.at_most(first[0], 4, "full ones before the first session")
    for name in "refused", "broken":
        t.equal(handshakes(kaproxy, name), (0, 0, total), name)


main()
