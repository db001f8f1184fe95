#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: in a booted system, the unit gives kaproxy what it needs and little else, its
drop-in examples do what they say, and logrotate rotates the logs."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test
from kaptest.peers import need
from kaptest.service import (UNIT, Clients, ask, await_end, await_journal, configure, cursor,
                             drop_in, hand_over_main, listener, main_pid, run, start_over, started,
                             use_example, user_of, warnings)
from kaptest.tls_ca import authority

CONTRIB = pathlib.Path(__file__).resolve().parents[2] / "contrib"
EXPOSURE_MAX = 15  # tenths, of 100
CREDENTIAL = "/run/credentials/kaproxy.service/client.key"
KEY = "/etc/ssl/private/kaproxy-client.key"


@test("exposure: at most 1.5, of 10")
def exposure(t):
    machine = started(t)
    done = machine.run("systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE_MAX}",
                       UNIT)
    said = done.output.splitlines()
    t.equal(done.status, 0, said[-1:])
    t.diagnostics.append(lambda: said)
    print("#", said[-1])


@test("the process has no capabilities, and cannot get any")
def no_capabilities(t):
    machine = started(t)
    status = machine.must("cat", f"/proc/{main_pid(machine)}/status")
    found = dict(re.findall(r"^(Cap\w+|NoNewPrivs|Seccomp):\s*(\S+)$", status, flags=re.M))
    t.equal({name: int(value, 16) for name, value in found.items()},
            {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1,
             "Seccomp": 2}, "privileges")


def descriptors(machine):
    limits = machine.must("cat", f"/proc/{main_pid(machine)}/limits")
    return tuple(map(int, re.search(r"^Max open files\s+(\d+)\s+(\d+)", limits, flags=re.M).groups()))


@test("descriptors: the unit's limit, or as many as a drop-in permits; nothing is denied")
def descriptor_limit(t):
    since = cursor(start_over(t))
    machine = started(t)
    soft, hard = descriptors(machine)  # no more than the container may have
    t.equal(soft, hard, "limits")
    machine.must("systemctl", "stop", UNIT)
    drop_in(machine, "[Service]\nLimitNOFILE=1024:16384\n")
    machine.must("systemctl", "start", UNIT)
    t.equal(descriptors(machine), (16384, 16384), "limits, of which the soft one was lower")
    t.equal(warnings(machine, since), [], "warnings")


@test("a unix socket for a group; its directory stays, so that the file can be checked after a stop")
def group_socket(t):
    machine = start_over(t)
    drop_in(machine, "[Service]\nSupplementaryGroups=users\n")
    configure(machine, listener("group", "unix:/run/kaproxy/group.sock",
                                "socket_group = users\nsocket_mode = 0660\n"))
    machine.must("systemctl", "start", UNIT)
    t.equal(machine.must("stat", "-c", "%U %G %a", "/run/kaproxy/group.sock").strip(),
            "kaproxy users 660", "owner, group and mode")
    machine.must("systemctl", "stop", UNIT)
    machine.must("kaproxy", "-t")


@test("low-ports.conf: without it a low port is denied, with it it is bound; after a handover too")
def low_ports(t):
    machine = start_over(t)
    since = cursor(machine)
    configure(machine, listener("low", "127.0.0.1:80"))
    t.check(machine.run("systemctl", "start", UNIT).status != 0, "it was bound without it")
    await_journal(machine, since, "listener low: cannot listen on 127.0.0.1:80: Permission denied")
    use_example(machine, "low-ports.conf")
    machine.must("systemctl", "reset-failed", UNIT)
    machine.must("systemctl", "start", UNIT)
    t.equal((ask(machine, 80), user_of(machine)), ("200", "kaproxy"), "response and user")
    configure(machine, listener("low", "127.0.0.1:80") + listener("more", "127.0.0.1:81"))
    machine.must("systemctl", "reload", UNIT)
    t.equal(ask(machine, 81), "200", "response of one added by a reload")
    before = main_pid(machine)
    hand_over_main(machine, before)
    await_end(machine, before)
    configure(machine, listener("low", "127.0.0.1:82"))
    machine.must("systemctl", "reload", UNIT)
    t.equal(ask(machine, 82), "200", "response after a handover and a reload")


@test("load-credential.conf: a key that only root can read")
def load_credential(t):
    machine = start_over(t)
    leaf = authority().valid
    machine.write(KEY, leaf.key.read_text())
    machine.must("chmod", "600", KEY)
    machine.write("/etc/ssl/kaproxy-client.pem", leaf.alone.read_text())
    text = ("[listener bank]\nlisten = 127.0.0.1:8080\nupstream = https://127.0.0.1:9\n"
            "tls_cert_file = /etc/ssl/kaproxy-client.pem\ntls_key_file = ")
    since = cursor(machine)
    configure(machine, f"{text}{KEY}\n")
    t.check(machine.run("systemctl", "start", UNIT).status != 0, "the key could be read")
    await_journal(machine, since, f"tls_key_file: {KEY}: Permission denied")
    configure(machine, f"{text}{CREDENTIAL}\n")
    use_example(machine, "load-credential.conf")
    machine.must("systemctl", "reset-failed", UNIT)
    machine.must("systemctl", "start", UNIT)
    t.equal(ask(machine), "502", "response, as there is no upstream")
    machine.must("systemctl", "reload", UNIT)


LOGS = "[kaproxy]\nlog = {0}/kaproxy.log\naccess_log = {0}/access.log\n"
FOLDER = "/var/log/kaproxy"
ROTATE = "/etc/logrotate.d/kaproxy"


def count_lines(machine, *names):
    """Of the access log's lines about clients."""
    return sum(len(machine.must("cat", f"{FOLDER}/{name}").splitlines()) for name in names)


def rotate(machine):
    """A forced rotation: (exit status, output)."""
    machine.write(ROTATE, (CONTRIB / "logrotate/kaproxy").read_text())
    done = machine.run("logrotate", "--force", ROTATE)
    return done.status, done.output + done.errors


@test("log files are kaproxy's, and its group can read them")
def log_modes(t):
    machine = started(t, LOGS.format(FOLDER) + listener("example", "127.0.0.1:8080"))
    t.equal(machine.must("stat", "-c", "%U:%G %a", FOLDER, f"{FOLDER}/kaproxy.log",
                         f"{FOLDER}/access.log").splitlines(),
            ["kaproxy:kaproxy 750", "kaproxy:kaproxy 640", "kaproxy:kaproxy 640"],
            "owners and modes")


@test("logrotate under load: new files are written, the old ones end, and no line is lost")
def logrotate(t):
    machine = started(t, LOGS.format(FOLDER) + listener("example", "127.0.0.1:8080"))
    configure(machine, LOGS.format(f"{FOLDER}/a") + listener("example", "127.0.0.1:8081"), "a.ini")
    machine.must("systemctl", "start", "kaproxy@a")
    clients = Clients(machine)
    t.equal(rotate(machine), (0, ""), "logrotate")
    # It has waited for the reload.
    t.equal(machine.must("stat", "-c", "%U:%G %a", f"{FOLDER}/access.log").strip(),
            "kaproxy:kaproxy 640", "owner and mode of the new one")
    t.check("reloaded" in machine.must("cat", f"{FOLDER}/kaproxy.log"), "the log was not reopened")
    clients.await_more(5)
    t.equal(rotate(machine), (0, ""), "logrotate again")
    clients.await_more(5)
    served = clients.finish(t)
    machine.must("systemctl", "stop", UNIT)  # writes all that it has
    machine.must("gunzip", f"{FOLDER}/access.log.2.gz")
    t.equal(count_lines(machine, "access.log", "access.log.1", "access.log.2"), served,
            "lines of all files")
    for name in "access.log", "access.log.1", "access.log.2":
        t.check(count_lines(machine, name) > 0, f"{name} is empty")
    machine.must("test", "-e", f"{FOLDER}/a/kaproxy.log.2.gz")
    machine.must("test", "-e", f"{FOLDER}/a/kaproxy.log")


@test("logrotate while nothing runs, and without logs: it does not complain")
def logrotate_idle(t):
    machine = start_over(t)
    t.equal(rotate(machine), (0, ""), "no logs")
    machine.must("install", "-o", "kaproxy", "-g", "kaproxy", "/etc/hostname",
                 f"{FOLDER}/access.log")
    t.equal((rotate(machine), machine.show(UNIT, "ActiveState")), ((0, ""), "inactive"),
            "logs, and no kaproxy")
    t.equal(machine.must("ls", FOLDER).split(), ["access.log.1"], "files")


PROFILE = CONTRIB / "apparmor/usr.sbin.kaproxy"


def load_profile(t):
    """Into the kernel, which the machine shares with us; it is for paths of an installation."""
    enabled = pathlib.Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text().strip() != "Y":
        raise Skip("the kernel has no AppArmor")
    command = [need("apparmor_parser"), "--skip-cache", "--quiet", str(PROFILE)]
    done = subprocess.run([*command, "--replace"], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"the profile cannot be loaded: {done.stderr.strip()}")
    t.callback(subprocess.call, [*command, "--remove"])


@test("the AppArmor profile: kaproxy runs confined, and is denied nothing")
def apparmor(t):
    machine = start_over(t)
    load_profile(t)
    since = cursor(machine)
    configure(machine, LOGS.format(FOLDER) + listener(
        "example", "127.0.0.1:8080 unix:/run/kaproxy/example.sock"))
    machine.must("systemctl", "start", UNIT)
    label = machine.must("cat", f"/proc/{main_pid(machine)}/attr/current").strip()
    t.check(label.endswith("kaproxy (enforce)"), f"it is confined as {label!r}")
    t.equal(ask(machine), "200", "response")
    before = main_pid(machine)
    machine.must("systemctl", "reload", UNIT)
    hand_over_main(machine, before)
    await_end(machine, before)
    t.equal(ask(machine), "200", "response after a handover")
    machine.must("systemctl", "stop", UNIT)
    t.equal(warnings(machine, since), [], "warnings")


if __name__ == "__main__":
    run(main)
