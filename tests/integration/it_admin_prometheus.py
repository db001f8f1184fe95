#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: Prometheus scrapes kaproxy in both formats, and its queries give what clients
and upstreams have seen."""

import http.server
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, main, test, wait_until
from kaptest.admin import Admin
from kaptest.http import HttpUpstream, client, describe
from kaptest.peers import need
from kaptest.prometheus import Prometheus

CLIENTS = 5

# An exchange that takes this long or longer is above the bucket that ends with 25.6 ms.
EXCHANGE = 0.03


class Relay:
    """Passes a scrape on as that of a client that knows only the text format."""

    def __init__(self, admin):
        self.asked = []  # the Accept fields that arrived
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                relay.asked.append(self.headers["Accept"])
                answer = admin.get(self.path, Accept="text/plain")
                body = answer.text.encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.fields["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def start(t):
    """(upstream, kaproxy, its admin pages over TCP)"""
    def handler(connection, message):
        time.sleep(EXCHANGE)
        return describe(connection, message)

    upstream = t.own(HttpUpstream(handler))
    kaproxy = t.kaproxy(upstream.endpoint, reuse=None, pool={"max_per_host": 2},
                        more={"admin": {"listen": "127.0.0.1:{port}"}})
    port = re.search(r"\[admin\]\nlisten = 127\.0\.0\.1:(\d+)", kaproxy.file.read_text())[1]
    return upstream, kaproxy, Admin(("127.0.0.1", int(port)))


def serve(t, kaproxy):
    """CLIENTS one after the other, each with two requests."""
    for number in range(CLIENTS):
        peer = client(t, kaproxy)
        for _ in range(2):
            t.equal(peer.ask("GET", f"/{number}").status, 200, "status")
        peer.channel.close()
    kaproxy.wait_sessions(2 * CLIENTS)
    kaproxy.wait_idle(1)


def check_rules(t, prometheus):
    """All have been evaluated, and none failed."""
    def rules():
        return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    wait_until(lambda: rules() and all(rule["health"] != "unknown" for rule in rules()),
               "the rules to be evaluated")
    t.equal([(rule["name"], rule.get("lastError")) for rule in rules() if rule["health"] != "ok"],
            [], "rules that failed")


@test("scraped in both formats: up, gauges, counters, quantiles; the rules that come with kaproxy")
def scraped(t):
    need("prometheus")
    upstream, kaproxy, admin = start(t)
    serve(t, kaproxy)
    relay = t.own(Relay(admin))
    prometheus = t.own(Prometheus(t, openmetrics=admin.address[1], text=relay.port))

    host = f'pool="default",upstream="{upstream.endpoint}"'
    prometheus.wait("up", 1)
    for state, count in ("idle", 1), ("busy", 0), ("held", 0), ("connecting", 0):
        prometheus.wait(f'kaproxy_upstream_connections{{{host},state="{state}"}}', count)
    t.equal(len(upstream.requests), 2 * CLIENTS, "requests at the upstream")
    main_ = '{listener="main"'
    for expression, count in (
            (f"sum by (job) (kaproxy_upstream_grants_total{{{host}}})", 2 * CLIENTS),
            (f"kaproxy_upstream_dials_total{{{host}}}", upstream.accepted),
            (f"kaproxy_listener_accepted_total{main_}}}", CLIENTS),
            (f'kaproxy_listener_responses_total{main_},class="2xx"}}', 2 * CLIENTS),
            (f"kaproxy_listener_exchange_seconds_count{main_}}}", 2 * CLIENTS)):
        prometheus.wait(expression, count)
    buckets = f"histogram_quantile(0.5, kaproxy_listener_exchange_seconds_bucket{main_}}})"
    for job, value in prometheus.query(buckets).items():
        t.at_least(value, 0.0256, f"the median of {job}, in seconds")
    t.equal(len(prometheus.query(buckets)), 2, "medians")

    t.equal(client(t, kaproxy).ask("GET", "/more").status, 200, "status")
    prometheus.wait(f"kaproxy_listener_accepted_total{main_}}}", CLIENTS + 1)
    prometheus.wait(f"kaproxy_listener_sessions{main_}}}", 1)
    check_rules(t, prometheus)

    # What the direct job got, by what Prometheus requests.
    kind = admin.get("/metrics", Accept=relay.asked[0]).fields["Content-Type"]
    t.check(kind.startswith("application/openmetrics-text"), f"Content-Type: {kind}")


@test("promtool has no objections to the text")
def promtool(t):
    program = need("promtool")
    _, kaproxy, admin = start(t)
    serve(t, kaproxy)
    answer = admin.get("/metrics", Accept="text/plain")
    t.check(answer.fields["Content-Type"].startswith("text/plain"), "Content-Type")
    done = subprocess.run([program, "check", "metrics"], input=answer.text, text=True,
                          capture_output=True, timeout=WAIT_MAX, check=False)
    t.equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool")


main()
