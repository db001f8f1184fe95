"""One table of medians, what the targets say to it, and both as Markdown and JSON."""

import json
import statistics

PEERS = ("haproxy", "haproxy-splice", "nginx")

# scenario, measure, at most so many times (or so much), of whom; the rate is "at least"
TARGETS = (
    ("oneshot-http", "cpu", 0.75, "peer"),
    ("oneshot-http", "cpu", 1.25, "floor"),
    ("oneshot-http", "system_calls", 8.0, None),
    ("oneshot-https", "cpu", 0.75, "peer"),
    ("keepalive-http", "cpu", 0.80, "peer"),
    ("keepalive-https", "cpu", 0.80, "peer"),
    ("100m-down-tcp", "cpu", 0.90, "haproxy-splice"),
    ("100m-up-tcp", "cpu", 0.90, "haproxy-splice"),
    ("100m-down-http", "cpu", 0.60, "peer"),
    ("100m-up-http", "cpu", 0.60, "peer"),
    ("100m-down-https", "cpu", 0.90, "peer"),
    ("100m-up-https", "cpu", 0.90, "peer"),
    ("redis-tcp", "rate", 1.0, "direct"),
    ("redis-tcp", "cpu", 1.0, "haproxy"),
    ("idle-http", "idle_bytes", 1024, None),
    ("idle-tcp", "idle_bytes", 1536, None),
)

NOTES = (
    "CPU is the proxy's own, user and system, for an exchange or for a GB. Memory is its peak; for",
    "idle clients it is what one of them adds, without what was allocated for all of them at the",
    "start (nginx's table of connections). nginx cannot queue for a connection, so it has no part",
    "in that scenario. haproxy-splice is HAProxy with splice in both directions.",
)


def medians(result):
    """{proxy: {measure: median}}"""
    return {proxy: {key: max(values) if key == "failures" else statistics.median(values)
                    for key, values in measures.items() if isinstance(values, list) and values}
            for proxy, measures in result.items()}


def best(found, measure):
    """The best peer's value."""
    values = [found[peer][measure] for peer in PEERS if measure in found.get(peer, {})]
    return min(values) if values else None


class Report:
    def __init__(self, about):
        self.about = about  # what was measured, and how
        self.rows = []      # (scenario, proxy, medians, ratio to best peer, ratio to floor)
        self.found = {}
        self.raw = {}
        self.broken = []    # what could not be measured, and why

    def add(self, scenario, result):
        found = medians(result)
        self.found[scenario.name], self.raw[scenario.name] = found, result
        cost = "idle_bytes" if any("idle_bytes" in f for f in found.values()) else "cpu"
        floor = found.get("floor", {}).get(cost)
        peer = best(found, cost)
        for proxy, values in found.items():
            own = values.get(cost)
            self.rows.append((scenario, proxy, values, own / peer if own and peer else None,
                              own / floor if own and floor else None))

    def targets(self):
        """(text, the value, whether it was met)"""
        lines = []
        for name, measure, limit, whom in TARGETS:
            own = self.found.get(name, {}).get("kaproxy", {}).get(measure)
            if own is None:
                continue
            other = 1 if whom is None else (best(self.found[name], measure) if whom == "peer" else
                                            self.found[name].get(whom, {}).get(measure))
            if other is None:
                continue
            least = measure == "rate"
            ratio = own / other
            of = f" × {'best peer' if whom == 'peer' else whom}" if whom else ""
            lines.append((f"{name}: {measure.replace('_', ' ')} at {'least' if least else 'most'} "
                          f"{limit:g}{of}", ratio, ratio >= limit if least else ratio <= limit))
        for name, found in self.found.items():
            own, other = found.get("kaproxy", {}).get("p99"), best(found, "p99")
            if own is not None and other:
                lines.append((f"{name}: p99 at most 1 × best peer", own / other, own <= other))
        failed = sum(f.get("kaproxy", {}).get("failures", 0) for f in self.found.values())
        lines.append(("failures at most 0", failed, failed == 0))
        return lines

    def markdown(self):
        titles = ["scenario", "by", "CPU", "× best peer", "× floor", "rate", "p50 ms", "p99 ms",
                  "syscalls", "instructions", "memory", "failures"]
        table, last = [], None
        for scenario, proxy, values, to_peer, to_floor in self.rows:
            bulk = getattr(scenario, "unit", "") == "GB"
            table.append(["" if scenario is last else scenario.title, proxy,
                          _cost(values, bulk), _text(to_peer, "{:.2f}"),
                          _text(to_floor, "{:.2f}"),
                          _text(values.get("rate"), "{:.2f} GB/s" if bulk else "{:,.0f} /s"),
                          _text(values.get("p50"), "{:.2f}"), _text(values.get("p99"), "{:.2f}"),
                          _text(values.get("system_calls"), "{:,.0f}" if bulk else "{:.2f}"),
                          _text(values.get("instructions"), "{:,.0f}"),
                          _memory(values), _text(values.get("failures"), "{:.0f}")])
            last = scenario
        out = ["# Bench", "", *(f"- {line}" for line in self.about), "", *_aligned(titles, table),
               "", *NOTES, "",
                *(f"NOT MEASURED: {text}\n" for text in self.broken), "## Targets", ""]
        out += _aligned(["target", "got", ""], [[text, f"{got:.2f}", "met" if met else "MISSED"]
                                                for text, got, met in self.targets()])
        return "\n".join(out) + "\n"

    def json(self):
        return json.dumps({
            "about": self.about, "medians": self.found, "rounds": self.raw,
            "targets": [{"target": text, "got": got, "met": met}
                        for text, got, met in self.targets()]}, indent=1)


def _text(value, how):
    return "" if value is None else how.format(value)


def _cost(values, bulk):
    if "cpu" not in values:
        return ""
    return f"{values['cpu'] * 1e3:.0f} ms/GB" if bulk else f"{values['cpu'] * 1e6:.1f} µs"


def _memory(values):
    if "idle_bytes" in values:
        return f"{values['idle_bytes'] / 1024:.2f} KiB/client"
    return _text(values["peak"] / 2**20 if "peak" in values else None, "{:.1f} MiB")


def _aligned(titles, rows):
    """A table of Markdown that is easy to read as it stands."""
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
             for row in [titles, *rows]]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
