# SPDX-License-Identifier: ISC
"""kaproxy's targets, as data, and whether a run meets them."""

import dataclasses
import operator

PEERS = ("haproxy", "haproxy-splice", "haproxy-splice-1m", "nginx", "twemproxy")
SPLICE = ("haproxy-splice", "haproxy-splice-1m")
RELATIONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}
NAMES = {"cpu": "CPU", "system_calls": "system calls", "idle_bytes": "bytes of memory",
         "connections": "upstream connections", "own_commands": "commands of its own",
         "peak": "bytes of memory"}


@dataclasses.dataclass(frozen=True)
class Target:
    scenario: str
    measure: str
    relation: str
    limit: float
    of: tuple = ()     # times the lowest of these, or absolute
    whom: str = ""     # these, in words
    beside: str = ""   # the scenario that has them, if it is another one

    def __str__(self):
        times = f" × {self.whom}" if self.of else ""
        return (f"{self.scenario}: {NAMES.get(self.measure, self.measure)} {self.relation} "
                f"{self.limit:g}{times}")


def _of_peers(measure, limit, *names):
    return [Target(name, measure, "<=", limit, PEERS, "best peer") for name in names]


TARGETS = (
    *_of_peers("cpu", 0.75, "oneshot-http", "oneshot-https"),
    Target("oneshot-http", "cpu", "<=", 1.25, ("floor",), "floor"),
    Target("oneshot-http", "system_calls", "<=", 8.0),
    Target("oneshot-http-log", "cpu", "<=", 1.06, ("kaproxy-silent",), "without a log"),
    *_of_peers("cpu", 0.80, "keepalive-http", "keepalive-https"),
    *(Target(name, "cpu", "<=", 0.90, SPLICE, "HAProxy with splice")
      for name in ("100m-down-tcp", "100m-up-tcp")),
    *_of_peers("cpu", 0.60, "100m-down-http", "100m-up-http"),
    *_of_peers("cpu", 0.90, "100m-down-https", "100m-up-https"),
    Target("scraped-http", "cpu", "<=", 1.01, ("kaproxy-beside",), "unscraped"),
    Target("scraped-http", "p99", "<=", 1.05, ("kaproxy-beside",), "unscraped"),
    *(Target(f"beside-{name}", "p50", "<=", 0.5, ("haproxy", *SPLICE), "HAProxy")
      for name in ("down-tcp", "down-http", "up-http", "chunked-http", "down-https", "up-https")),
    Target("redis-tcp", "rate", ">=", 1.0, ("direct",), "direct"),
    Target("redis-tcp", "cpu", "<", 1.0, ("haproxy",), "HAProxy"),
    Target("redis-oneshot", "cpu", "<=", 1.15, ("kaproxy-tcp",), "tcp, reuse = quiet"),
    Target("redis-oneshot", "rate", ">=", 0.95, ("direct",), "direct"),
    Target("redis-oneshot", "cpu", "<=", 0.60, ("twemproxy",), "twemproxy"),
    Target("redis-oneshot", "cpu", "<=", 0.60, ("haproxy",), "HAProxy"),
    Target("redis-pipeline", "cpu", "<=", 1.0, ("twemproxy",), "twemproxy"),
    Target("redis-logins", "connections", "<=", 4),
    Target("redis-logins", "own_commands", "<=", 0),
    Target("100m-down-redis", "cpu", "<=", 1.0, ("kaproxy",), "http's", "100m-down-http"),
    Target("100m-down-redis", "peak", "<=", 32 << 20),
    Target("idle-redis", "idle_bytes", "<=", 1229),
    Target("idle-http", "idle_bytes", "<=", 1024),
    Target("idle-tcp", "idle_bytes", "<=", 1536),
)


def lowest(found, measure, names=PEERS):
    """Of these proxies' medians; None if there is none."""
    return min((found[name][measure] for name in names if measure in found.get(name, {})),
               default=None)


def judge(found):
    """[(target, kaproxy's figure, whether it is met)], by the medians {scenario: {proxy:
    {measure}}}. The figure is a ratio unless the target is absolute. The tail of every scenario is
    a target too. What was not measured is left out."""
    tails = [target for name in found for target in _of_peers("p99", 1.0, name)]
    judged = []
    for target in (*TARGETS, *tails):
        medians = found.get(target.scenario, {})
        own = medians.get("kaproxy", {}).get(target.measure)
        others = found.get(target.beside or target.scenario, {})
        other = lowest(others, target.measure, target.of) if target.of else 1
        if own is not None and other:
            judged.append((target, own / other,
                           RELATIONS[target.relation](own / other, target.limit)))
    return judged
