# SPDX-License-Identifier: ISC
"""Runs scenarios: all proxies in turn, round after round, so that drift affects all alike."""

import subprocess
import sys

from kaptest.counting import Instructions, NotTraceable, SystemCalls

from . import proxies
from .rig import Broken, free_port, need
from .scenarios import DIRECT, IdleScenario, measure_idle

SHARE_WARM, SHARE_STRACE = 0.1, 0.05


class Bench:
    def __init__(self, folder, upstream, authority, options):
        self.folder = folder
        self.upstream = upstream
        self.authority = authority
        self.rounds = options.rounds
        self.share = 0.2 if options.quick else 1.0
        self.exact = options.exact

    def run(self, scenario):
        """{proxy: {measure: [a value for each round]}}"""
        if isinstance(scenario, IdleScenario):
            return self._idle(scenario)
        own = scenario.upstream(self.folder) if scenario.upstream else None
        try:
            return self._drive_all(scenario, own.port if own else self.upstream.port(
                scenario.scheme))
        finally:
            if own:
                own.stop()

    def _drive_all(self, scenario, upstream):
        running, small = {}, None
        try:
            if scenario.beside:
                small = proxies.small_upstream(self.folder)
                scenario.load.sides[upstream] = small.port
            for proxy in scenario.proxies:
                side = (free_port(), small.port) if small else None
                setting = scenario.setting(upstream, self.authority, side)
                running[proxy.name] = proxies.start(proxy, self.folder, setting)
                if side:
                    scenario.load.sides[running[proxy.name].port] = side[0]
            result = {name: {} for name in [DIRECT, *running]}
            for name in result:
                self._drive(scenario, upstream, running.get(name), SHARE_WARM)
            for number in range(self.rounds):
                say(f"{scenario.name}: round {number + 1} of {self.rounds}")
                for name, measures in result.items():
                    got = self._drive(scenario, upstream, running.get(name), self.share)
                    for key, value in got.items():
                        measures.setdefault(key, []).append(value)
            for name, process in running.items():
                process.check()
                result[name]["peak"] = [process.peak()]
                if self.exact and not scenario.thread:
                    say(f"{scenario.name}: strace of {name}")
                    result[name].update(self._system_calls(scenario, process))
        finally:
            for process in [*running.values(), *([small] if small else [])]:
                process.stop()
        if self.exact and scenario.small:
            self._count_instructions(scenario, setting, result)
        return result

    def _drive(self, scenario, upstream, process, share):
        if not process:
            share *= scenario.direct_share
        before = process.cpu(scenario.thread) if process else 0
        user, system = process.system_share() if process else (0, 0)
        try:
            outcome = scenario.load.drive(process.port if process else upstream,
                                          scenario.scheme == "https" and not process, self.folder,
                                          share)
        except Broken:
            if process:
                process.check()  # its own message comes first
            raise
        if outcome is None:  # nothing to compare with
            return {}
        got = {"rate": outcome.units / outcome.seconds, "failures": outcome.failures,
               **outcome.more}
        for key in ("p50", "p99"):
            if getattr(outcome, key) is not None:
                got[key] = getattr(outcome, key)
        if process:
            process.check()
            got["cpu"] = (process.cpu(scenario.thread) - before) / outcome.units
            user, system = (b - a for a, b in zip((user, system), process.system_share()))
            got["system_share"] = system / (user + system) if user + system else 0
        return got

    def _system_calls(self, scenario, process):
        try:
            with SystemCalls(process.pid, self.folder / "strace.out", need("strace")) as counted:
                outcome = scenario.load.drive(process.port, False, self.folder, SHARE_STRACE)
        except NotTraceable as why:
            raise Broken(f"strace: {why}") from None
        each = {name: count / outcome.units for name, count in sorted(
            counted.calls.items(), key=lambda item: -item[1])}
        return {"system_calls": [sum(each.values())], "system_calls_by_name": each}

    def _count_instructions(self, scenario, setting, result):
        for proxy in scenario.proxies:
            say(f"{scenario.name}: callgrind of {proxy.name}")
            try:
                result[proxy.name]["instructions"] = [self._instructions(proxy, scenario, setting)]
            except (Broken, NotTraceable, subprocess.TimeoutExpired) as failure:
                say(f"{scenario.name}: callgrind of {proxy.name} failed: {failure}")

    def _instructions(self, proxy, scenario, setting):
        """For each exchange, after connections and memory are set up."""
        folder = self.folder / f"callgrind-{scenario.name}-{proxy.name}"
        folder.mkdir()
        counted = Instructions(folder, need("valgrind"))
        process = proxies.start(proxy, self.folder, setting, wrap=counted.wrap)
        try:
            scenario.load.drive(process.port, False, self.folder, scenario.load.short)
            counted.part(process.pid)
            outcome = scenario.load.drive(process.port, False, self.folder, scenario.load.short)
            return counted.part(process.pid) / outcome.units
        finally:
            process.stop()

    def _idle(self, scenario):
        own = scenario.upstream(self.folder) if scenario.upstream else None
        try:
            return self._idle_behind(scenario, own)
        finally:
            if own:
                own.stop()

    def _idle_behind(self, scenario, own):
        result = {}
        for proxy in scenario.proxies:
            say(f"{scenario.name}: {proxy.name}")
            process = proxies.start(proxy, self.folder, proxies.Setting(
                scenario.scheme, own.port if own else self.upstream.port("http"), self.authority,
                max_connections=scenario.max_connections))
            try:
                each = measure_idle(process, scenario)
                result[proxy.name] = {"idle_bytes": [each], "peak": [process.peak()],
                                      "failures": [0]}
            finally:
                process.stop()
        return result


def say(text):
    print(text, file=sys.stderr, flush=True)
