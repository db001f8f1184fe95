# SPDX-License-Identifier: ISC
"""Made-up responses of GET /status, for tests of what is made of them: calm, staged faults, and
many hosts."""

import itertools

NOW = 1795000000.25

LIMITS = {"max_per_host": 8, "max_open": 128, "max_connecting": 8, "max_tunnels": 100,
          "max_waiting": 0, "min_idle": 0, "max_uses": 0, "fail_after": 3, "connect_retries": 0,
          "timeout": 120.0, "connect_timeout": 5.0, "keep_alive": 15.0, "max_age": 0.0}

DISCARDS = {"not_reusable": 0, "upstream_closed": 4, "keep_alive": 31, "dial_failed": 0}
ENDS = {"complete": 81234, "client_left": 12, "client_reset": 3, "upstream_reset": 0,
        "upstream_closed": 0, "bad_request": 0, "bad_response": 0, "alloc_failed": 0,
        "idle_timeout": 0, "shutdown": 0, "error": 0}


def connections(busy=0, held=0, connecting=0, idle=0):
    return {"connecting": connecting, "busy": busy, "held": held, "idle": idle}


def host(upstream, **changes):
    row = {
        "pool": "default", "upstream": upstream, "state": "open", "down": False,
        "down_since": None, "oldest_wait": 0.0, "last_error": None, "last_connected": NOW - 42,
        "limits": dict(LIMITS),
        "metrics": {"connections": connections(busy=2, idle=4), "waiting": 0, "queued": 0,
                    "down": 0, "grants": {"none": 120, "immediate": 80990, "deferred": 124},
                    "failures": {"queue": 0, "connect": 0}, "refused": 0, "dials": 120,
                    "discards": dict(DISCARDS), "wait": {"count": 81234, "sum": 12.5},
                    "connect": {"count": 120, "sum": 0.096}},
        "peaks": {"connections": connections(busy=8, connecting=3, idle=8), "waiting": 17,
                  "queued": 9, "down": 0},
        "rates": {"grants": 1234.5, "failures": 0.0, "dials": 0.25, "refused": 0.0,
                  "discards": 0.3, "wait": 1234.5, "connect": 0.25},
        "reuse": 0.9985, "wait": {"p50": 0.00005, "p99": 0.0042},
        "connect": {"p50": 0.0008, "p99": 0.0031}}
    if upstream.startswith("https:"):
        row["tls"] = "api"
    for path, value in changes.items():
        *names, last = path.split("__")
        inner = row
        for name in names:
            inner = inner[name]
        inner[last] = value
    return row


def listener(name, upstream, protocol="http", **ends):
    return {
        "name": name, "addresses": ["127.0.0.1:8080", f"unix:/run/kaproxy/{name}.sock"],
        "upstream": upstream, "pool": "default", "protocol": protocol, "state": "open",
        "metrics": {"accepted": 40321, "sessions": 37,
                    "bytes": {"up": 12_345_678, "down": 9_876_543_210},
                    "ends": {**ENDS, **ends}, "exchange": {"count": 81234, "sum": 1011.7},
                    "responses": {"1xx": 0, "2xx": 81000, "3xx": 0, "4xx": 234, "5xx": 0}},
        "peaks": {"sessions": 212},
        "rates": {"accepted": 12.5, "bytes": 1_234_567.0, "ends": 1234.5, "exchange": 1234.5},
        "exchange": {"p50": 0.0123, "p99": 0.245}, "oldest_session": 7322.0, "longest_quiet": 12.5}


def calm():
    """All is well, with one upstream of each kind."""
    rows = [host("http://10.0.0.5:8080"), host("redis://cache.example.com:6379", reuse=None),
            host("https://api.example.com:443", wait=None, connect=None,
                 metrics__connections=connections(busy=3, held=12, connecting=1, idle=1))]
    names = zip(("web", "cache", "api"), rows, ("http", "redis", "http"))
    return {
        "kaproxy": {"version": "0.1.0", "pid": 4711, "started": NOW - 266400,
                    "now": NOW, "uptime": 266400.0, "state": "serving",
                    "config": "/etc/kaproxy.ini", "config_read": NOW - 266400,
                    "reload_failed": None},
        "loop": {"lag": 0.00012, "answers": True, "snapshot_age": 0.4},
        "problems": [],
        "process": {"clients": 111, "max_clients": 10000, "accept_pauses": 0,
                    "max_clients_reached": 0, "pipes": 3, "dns_queries": 412, "dns_failures": 0,
                    "log_lines_lost": {"messages": 0, "access": 0},
                    "log_failing": {"messages": 0, "access": 0}, "loop_lag": 0.00012},
        "listeners": [listener(name, row["upstream"], protocol) for name, row, protocol in names],
        "hosts": rows,
        "pools": [{"name": "default", "limits": dict(LIMITS), "waiting": 0,
                   "connections": connections(busy=7, held=12, connecting=1, idle=9)}]}


def problem(severity, code, text, **labels):
    return {"severity": severity, "code": code, **labels, "text": text}


def faults():
    """A status with one problem of each kind that an operator meets."""
    status = calm()
    slow, small, gone = (f"http://10.0.0.{number}:8080" for number in (11, 12, 13))
    status["hosts"] = [
        host(slow, metrics__connections=connections(busy=8), metrics__waiting=3, oldest_wait=2.5,
             reuse=0.81, wait={"p50": 0.8, "p99": 4.25}),
        host(small, metrics__connections=connections(busy=7, connecting=1), metrics__waiting=40,
             oldest_wait=12.0, rates__failures=1.5, metrics__failures={"queue": 19, "connect": 0},
             wait={"p50": 3.0, "p99": 11.0}),
        host(gone, down=True, down_since=NOW - 193, metrics__connections=connections(connecting=1),
             metrics__down=1, rates__grants=0.0, rates__failures=52.0, reuse=None, wait=None,
             metrics__failures={"queue": 0, "allocate": 8031, "connect": 3},
             last_error={"text": "Connection refused", "function": "connect", "errno": 111,
                         "at": NOW - 9}),
        host("https://expired.example.com:443", state="paused",
             last_error={"text": "certificate of CN=expired.example.com has expired on 2026-11-20",
                         "function": "tls", "errno": 0, "at": NOW - 3700})]
    status["listeners"].append(listener("shop", gone, alloc_failed=8034, upstream_reset=2))
    status["process"].update(dns_failures=12, log_lines_lost={"messages": 3, "access": 120_400})
    status["problems"] = [
        problem("critical", "upstream_down", f"{gone} is down since 3 min 13 s: connect: Connection"
                " refused. After 3 failures (fail_after) clients are refused at once; kaproxy tries"
                " one connection at a time, and serves clients again once that succeeds", pool="default",
                upstream=gone),
        problem("critical", "log_failing", "The access log (/var/log/kaproxy/access.log) cannot be"
                " written: its disk is full, or it went away. Lines are kept until 1 MiB is full,"
                " and then they are lost; 1204 lost in the last minute, 120400 since the start"),
        problem("critical", "certificate_expired", "No connection to"
                " https://expired.example.com:443 can be opened: its certificate has expired",
                pool="default", upstream="https://expired.example.com:443",
                tls="api"),
        problem("warning", "clients_waiting", f"40 clients wait for a connection to {small}, the"
                " first one for 12 s: max_per_host=8, all 8 are busy; the pool is too small, or"
                " clients are too many", pool="default", upstream=small),
        problem("warning", "upstream_slow", f"{slow} is slow: in the last minute half of the"
                " exchanges of listener web took 800 ms or longer, and one in a hundred 4.2 s",
                pool="default", upstream=slow),
        problem("warning", "dns_failing", "DNS: 12 of 412 lookups of the last minute failed"),
        problem("warning", "clients_stuck", "2 clients of listener web keep a connection to"
                f" {slow} in which nothing has moved for 40 s", listener="web"),
        problem("notice", "paused", "https://expired.example.com:443 is paused: its clients wait,"
                " and time out after timeout=120 s, until it is resumed; 0 wait now",
                pool="default", upstream="https://expired.example.com:443",
                tls="api")]
    return status


NASTY = ("<script>document.title='broken in'</script>", '"><img src=x onerror=alert(1)>', "' onx='",
         "&amp;&#60;", "a\u202ebidi\u0000\u0007\n\tend", "\u00e4\u20ac\U0001f600", "x" * 250,
         "</main></title><!--", "]]>", "`${1}`")


def nasty():
    """Every text is anything."""
    texts = itertools.cycle(NASTY)
    sentinel = {"severity", "state", "name"}  # what names a thing is a text, too

    def spoil(value, key=None):
        if isinstance(value, dict):
            return {name: spoil(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [spoil(inner) for inner in value]
        return next(texts) if isinstance(value, str) and key not in sentinel else value

    status = spoil(faults())
    status["problems"] += [problem("notice", "any", text) for text in NASTY]
    return status


def many(count):
    status = calm()
    status["hosts"] = [host(f"http://10.{n >> 16}.{n >> 8 & 255}.{n & 255}:8080")
                       for n in range(count)]
    status["problems"] = [problem("critical", "upstream_failing", "No connection can be opened",
                                  pool="default", upstream=row["upstream"])
                          for row in status["hosts"]]
    return status
