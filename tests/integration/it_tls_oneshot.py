#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: thousands of one-shot HTTP/1.0 clients need four TLS handshakes."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.http_peers import run, url
from kaptest.tls import handshakes, start
from kaptest.tls_peers import Nginx

CLIENTS = 2000 if SLOW else 20000


@test("ab without keep-alive: no failure, four connections")
def ab(t):
    nginx = t.own(Nginx(t))
    nginx.put("page", b"p" * 1000)
    kaproxy = start(t, nginx, pool={"max_per_host": 4})
    output, _ = run(t, "ab", "-q", "-c", "16", "-n", CLIENTS, url(kaproxy, "/page"))
    counts = dict(re.findall(r"^([A-Z][\w -]+):\s+(\d+)$", output.decode(), flags=re.M))
    t.equal((counts["Complete requests"], counts["Failed requests"]), (str(CLIENTS), "0"),
            "requests, complete and failed")
    t.check("Non-2xx responses" not in counts, f"responses that were not 200: {counts}")
    requests = nginx.wait_requests(CLIENTS)
    t.equal({r.status for r in requests}, {200}, "status in nginx's log")
    t.at_most(len({r.connection for r in requests}), 4, "TLS connections in nginx's log")
    full, resumed, failed = handshakes(kaproxy)
    t.at_most(full + resumed, 4, "handshakes")
    t.equal(failed, 0, "handshakes that failed")


main()
