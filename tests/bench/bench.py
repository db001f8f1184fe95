#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Compares kaproxy with HAProxy and nginx, and with a relay that parses nothing.

All run on this machine, on its loopback, and, by default, on one processor. All are driven in turn,
round after round. The table also shows what kaproxy loses, and a missed target is not a failure.
The exit status is 0 if everything was measured, without one failed exchange."""

import argparse
import fnmatch
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
from kapbench import proxies  # noqa: E402
from kapbench.report import Report  # noqa: E402
from kapbench.rig import Broken, Missing, missing, need, use, version  # noqa: E402
from kapbench.run import Bench, say  # noqa: E402
from kapbench.scenarios import raise_descriptor_limit, scenarios  # noqa: E402
from kaptest.tls_ca import Authority  # noqa: E402


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kaproxy", default="./kaproxy", help="the program (%(default)s)")
    parser.add_argument("--floor", default="tests/bench/floor", help="the relay (%(default)s)")
    parser.add_argument("--haproxy", metavar="PATH", help="a haproxy that is not in the PATH")
    parser.add_argument("--nginx", metavar="PATH", help="an nginx that is not in the PATH")
    parser.add_argument("--output", default="tests/bench", type=pathlib.Path,
                        help="folder for bench.md and bench.json (%(default)s)")
    parser.add_argument("--rounds", type=int, metavar="N", help="5, or 2 with --quick")
    parser.add_argument("--only", action="append", metavar="SCENARIO",
                        help="a name, or a pattern of names (100m-*); may be repeated")
    parser.add_argument("--quick", action="store_true", help="shorter, coarser, without strace and callgrind")
    parser.add_argument("--exact", action="store_true", help="with them even so")
    parser.add_argument("--cpus", default=None, metavar="LIST",
                        help="processors for everything, as 1 or 0,1 (the last one), or all")
    parser.add_argument("--list", action="store_true", help="the names of the scenarios")
    options = parser.parse_args()
    options.exact = options.exact or not options.quick
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def pin(cpus):
    """All processes that are started from now on inherit it."""
    allowed = os.sched_getaffinity(0)
    if cpus != "all":
        os.sched_setaffinity(0, map(int, cpus.split(",")) if cpus else {max(allowed)})
    return ", ".join(map(str, sorted(os.sched_getaffinity(0))))


def make_files(folder):
    files = folder / "files"
    files.mkdir()
    for name, size in (("100k", 100 * 1000), ("100m", 100 * 1000 * 1000)):
        with open(files / name, "wb") as file:
            file.truncate(size)
            file.write(os.urandom(min(size, 100 * 1000)))
    for path in (folder, files):
        path.chmod(0o755)


def chosen(everything, only):
    if not only:
        return everything
    picked = [s for s in everything if any(fnmatch.fnmatch(s.name, o) for o in only)]
    if not picked:
        raise Missing("no such scenario; there are " + ", ".join(s.name for s in everything))
    return picked


def measure(options, folder):
    cpus, load = pin(options.cpus), os.getloadavg()[0]
    make_files(folder)
    picked = chosen(scenarios(folder), options.only)
    tools = {"haproxy", "nginx", "openssl"}.union(*(s.tools for s in picked))
    if options.exact:
        tools |= {"strace", "valgrind"}
    lack = missing(sorted(tools), any(s.scheme == "tcp" for s in picked))
    if lack:
        raise Missing(lack)
    certificates = Authority()
    upstream = proxies.Upstream(folder, certificates.valid)
    bench = Bench(folder, upstream, certificates.root.alone, options)
    report = Report([
        f"{platform.system()} {platform.release()}, {platform.machine()}; everything on "
        f"processor {cpus}",
        version(options.kaproxy, "-V"), version(need("haproxy")), version(need("nginx")),
        "no twemproxy" if missing(["nutcracker"], False) else version(need("nutcracker"), "-V"),
        "congestion control: " + pathlib.Path(
            "/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip(),
        f"load average at the start: {load:.1f}"
        + ("; others take part of the processor, so trust CPU, not p99 and rate" if load > 0.5
           else ""),
        f"medians of {options.rounds} rounds{', quick' if options.quick else ''}",
    ])
    try:
        for scenario in picked:
            try:
                report.add(scenario, bench.run(scenario))
            except (Broken, subprocess.TimeoutExpired) as failure:
                report.broken.append(f"{scenario.name}: {failure}")
                say(report.broken[-1])
            upstream.process.check()
    finally:
        upstream.process.stop()
    return report


def main():
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that running processes are ended
    proxies.Kaproxy.program = options.kaproxy = str(pathlib.Path(options.kaproxy).resolve())
    proxies.Floor.program = str(pathlib.Path(options.floor).resolve())
    for peer in ("haproxy", "nginx"):
        if getattr(options, peer):
            use(peer, getattr(options, peer))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kaproxy-bench-"))
    try:
        if options.list:
            print("\n".join(s.name for s in scenarios(folder)))
            return 0
        raise_descriptor_limit()
        report = measure(options, folder)
    except (Broken, Missing) as failure:
        say(f"bench: {failure}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bench.md").write_text(report.markdown())
    (options.output / "bench.json").write_text(report.json())
    print(report.markdown(), end="")
    return 1 if report.broken or report.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
