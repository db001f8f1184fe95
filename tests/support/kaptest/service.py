# SPDX-License-Identifier: ISC
"""kaproxy.service in a booted machine: what the system tests have in common."""

import json
import os
import re
import signal
import threading

from .machine import BUILD, Machine
from .tap import Failure, Skip, spawn, wait_until

UNIT = "kaproxy.service"
UPSTREAM = """[Unit]
Description=Where kaproxy leads to
[Service]
Type=exec
ExecStart=/bin/sh -c 'exec demo upstream http >/run/upstream.port'
"""
LOOP = """rm -f /run/clients.*
while [ ! -e /run/clients.stop ]; do
    code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 "$1")
    status=$?
    echo "$status $code" >>/run/clients.done
done
"""


class Scene:
    """The one machine of this run, with an upstream in it."""

    def __init__(self):
        self._machine = self._why = None
        self.folder = self.upstream = None

    def boot(self):
        try:
            self._machine = Machine()
            self._prepare()
        except (Skip, Failure) as why:
            self._why = why

    def machine(self):
        if self._why is not None:
            raise self._why
        return self._machine

    def _prepare(self):
        text = (BUILD / "contrib/systemd/kaproxy@.service").read_text()
        self.folder = re.search(r"^ExecStart=.* -c (\S+)/%i\.ini$", text, flags=re.M)[1]
        machine = self._machine
        machine.write("/etc/systemd/system/upstream.service", UPSTREAM)
        machine.must("systemd-sysusers")
        machine.must("systemd-tmpfiles", "--create", "kaproxy.conf")
        machine.must("systemctl", "daemon-reload")
        machine.must("systemctl", "start", "upstream")
        port = wait_until(lambda: machine.run("cat", "/run/upstream.port").output.strip(),
                          "the upstream's port")
        self.upstream = f"http://127.0.0.1:{port}"

    def close(self):
        if self._machine is not None:
            self._machine.close()


scene = Scene()


def start_over(t):
    """The machine, in which no kaproxy runs now, nor after the test."""
    machine = scene.machine()

    def stop():
        machine.run("systemctl", "stop", "kaproxy.socket", UNIT, "kaproxy@a", "kaproxy@b")
        machine.run("sh", "-c", f"rm -rf /run/systemd/system/kaproxy.service.d {scene.folder}/[ab].ini "
                    "/etc/systemd/system/kaproxy.socket /var/log/kaproxy/*")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "reset-failed")
    stop()
    t.callback(stop)
    since = cursor(machine)
    t.diagnostics.append(lambda: machine.run(
        "journalctl", f"--after-cursor={since}", "--no-pager", "-q").output.splitlines())
    return machine


def listener(name, listen, more=""):
    return f"[listener {name}]\nlisten = {listen}\nupstream = {scene.upstream}\n{more}"


def configure(machine, text, name="kaproxy.ini"):
    machine.write(f"{scene.folder}/{name}", text)


def drop_in(machine, text):
    machine.write("/run/systemd/system/kaproxy.service.d/test.conf", text)
    machine.must("systemctl", "daemon-reload")


def use_example(machine, name):
    """A drop-in as it is installed."""
    found = machine.must("find", "/usr", "-path", f"*/doc/kaproxy/examples/{name}").split()
    if len(found) != 1:
        raise Failure(f"{name} is installed as {found}")
    machine.must("install", "-D", found[0], f"/run/systemd/system/kaproxy.service.d/{name}")
    machine.must("systemctl", "daemon-reload")


def started(t, text=None):
    machine = start_over(t)
    configure(machine, text or listener("example", "127.0.0.1:8080"))
    machine.must("systemctl", "start", UNIT)
    return machine


def ask(machine, port=8080):
    """At once: nothing here needs a wait."""
    return machine.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
                       f"http://127.0.0.1:{port}/").output


def main_pid(machine, unit=UNIT):
    return int(machine.show(unit, "MainPID"))


def user_of(machine, unit=UNIT):
    return machine.must("stat", "-c", "%U", f"/proc/{main_pid(machine, unit)}").strip()


def cursor(machine):
    """The journal's end."""
    return re.search(r"^-- cursor: (.*)$", machine.must(
        "journalctl", "-n", "0", "--show-cursor"), flags=re.M)[1]


def journal(machine, since, *words):
    """Messages of kaproxy, and of systemd about it: [(priority, text)]."""
    machine.must("journalctl", "--sync")
    lines = machine.must("journalctl", f"--after-cursor={since}", "-o", "json", "-u", "kaproxy*",
                         *words).splitlines()
    entries = [json.loads(line) for line in lines]
    return [(int(entry["PRIORITY"]), str(entry["MESSAGE"])) for entry in entries]


def await_journal(machine, since, words):
    return wait_until(lambda: [entry for entry in journal(machine, since) if words in entry[1]],
                      f"{words!r} in the journal")


class Clients:
    """Clients one after the other, until `finish`, which returns how many there were."""

    def __init__(self, machine, port=8080):
        self.machine = machine
        self.process = spawn(machine.command("sh", "-c", LOOP, "clients",
                                             f"http://127.0.0.1:{port}/"))
        self.await_more(5)

    def lines(self):
        return self.machine.run("cat", "/run/clients.done").output.splitlines()

    def await_more(self, more):
        before = len(self.lines())
        wait_until(lambda: len(self.lines()) >= before + more, "clients to be served")

    def finish(self, t):
        self.await_more(5)
        self.machine.must("touch", "/run/clients.stop")
        self.process.wait(30)
        lines = self.lines()
        t.equal(sorted(set(lines)), ["0 200"], "outcomes of clients")
        return len(lines)


def hand_over_main(machine, before):
    """SIGUSR2 for the main process: the one that is it then."""
    machine.must("systemctl", "kill", "-s", "USR2", "--kill-who=main", UNIT)
    return wait_until(lambda: main_pid(machine) not in (0, before) and main_pid(machine),
                      "another main process")


def await_end(machine, pid):
    wait_until(lambda: machine.run("test", "-d", f"/proc/{pid}").status != 0,
               f"process {pid} to end")


def warnings(machine, since):
    return [text for priority, text in journal(machine, since) if priority <= 4]


def run(main):
    """All of it may take three minutes, without what is made once."""
    try:
        scene.boot()
        timer = threading.Timer(180, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()
        main()
    finally:
        scene.close()
