# SPDX-License-Identifier: ISC
"""One table of medians, whether they meet the targets, and both as Markdown and JSON."""

import dataclasses
import json
import statistics

from .targets import judge, lowest

NOTES = (
    "CPU is the proxy's own, user and system, for an exchange or for a GB. Memory is its peak; for",
    "idle clients it is what one of them adds, without what was allocated for all of them at the",
    "start (nginx's table of connections). nginx cannot queue for a connection, so it is left out",
    "of that scenario. haproxy-splice is HAProxy with splice in both directions, through pipes of",
    "the kernel's default size (64 KiB); haproxy-splice-1m is the same through pipes of 1 MiB.",
    "With access logs each writes a line for every exchange to a file, nginx through a buffer of 64",
    "KiB, HAProxy on its standard output; kaproxy-silent is kaproxy without one.",
    "With a scraper, CPU is that of the thread that carries clients; kaproxy-silent has no scraper",
    "at all, and kaproxy-beside none of its own: the scraper asks another kaproxy meanwhile, and so",
    "costs the machine the same.",
    "Of redis, kaproxy-tcp is kaproxy for opaque bytes, with reuse = quiet; twemproxy puts all",
    "clients' commands into one connection, and knows neither SELECT nor AUTH.",
)


def medians(result):
    """{proxy: {measure: median}}"""
    return {proxy: {key: max(values) if key == "failures" else statistics.median(values)
                    for key, values in measures.items() if isinstance(values, list) and values}
            for proxy, measures in result.items()}


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
        peer = lowest(found, cost)
        for proxy, values in found.items():
            own = values.get(cost)
            self.rows.append((scenario, proxy, values, own / peer if own and peer else None,
                              own / floor if own and floor else None))

    def failures(self):
        """What is not 0, as text."""
        return [f"{name}: {proxy}: {values['failures']:.0f} failures"
                for name, found in self.found.items() for proxy, values in found.items()
                if values.get("failures")]

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
               "", *NOTES, ""]
        out += [f"NOT MEASURED: {text}\n" for text in self.broken]
        out += [f"FAILED: {text}\n" for text in self.failures()]
        out += ["## Targets", "", *_aligned(["target", "got", ""], [
            [str(target), f"{got:.2f}" if target.of else f"{got:.4g}", "met" if met else "MISSED"]
            for target, got, met in judge(self.found)])]
        return "\n".join(out) + "\n"

    def json(self):
        return json.dumps({
            "about": self.about, "medians": self.found, "rounds": self.raw,
            "not_measured": self.broken, "failures": self.failures(),
            "targets": [{**dataclasses.asdict(target), "got": got, "met": met}
                        for target, got, met in judge(self.found)]}, indent=1)


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
    """A Markdown table that is easy to read unrendered."""
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
             for row in [titles, *rows]]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
