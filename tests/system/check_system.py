#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: in a booted system, the installed kaproxy is what systemd takes it for: ready
when it says so, reloaded or not, handed over, started by a client, restarted when it hangs,
stopped."""

import ctypes
import os
import pathlib
import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, Skip, main, spawn, test, wait_until
from kaptest.service import (UNIT, Clients, ask, await_end, await_journal, configure, cursor,
                             drop_in, hand_over_main, journal, listener, main_pid, run, scene,
                             start_over, started, user_of, warnings)

SOURCE = pathlib.Path(__file__).resolve().parents[2]


@test("installed: systemd knows the units, and the installed file has no listener")
def installed(t):
    machine = start_over(t)
    units = machine.must("systemctl", "list-unit-files", "kaproxy*", "--no-legend")
    t.equal(sorted(line.split()[0] for line in units.splitlines()),
            ["kaproxy.service", "kaproxy@.service"], "units")
    t.equal(machine.run("systemd-analyze", "verify", "--man=no", UNIT, "kaproxy@a.service").errors,
            "", "complaints")
    t.check(machine.run("systemctl", "start", UNIT).status != 0, "it started without a listener")


@test("start: it is ready when systemctl returns, and reports its state")
def start(t):
    machine = started(t)
    t.equal(ask(machine), "200", "response")
    t.equal(machine.show(UNIT, "Type"), "notify", "type")
    t.equal(machine.show(UNIT, "ActiveState"), "active", "state")
    wait_until(lambda: re.fullmatch(r"\d+ clients?, \d+ connections?",
                                    machine.show(UNIT, "StatusText")), "a line about its state")
    t.equal(user_of(machine), "kaproxy", "user")
    machine.must("kaproxyctl", "status")


@test("a start with a mistake in the file fails, and the journal says where")
def bad_start(t):
    machine = start_over(t)
    configure(machine, listener("example", "127.0.0.1:8080") + "nonsense = 1\n")
    since = cursor(machine)
    t.check(machine.run("systemctl", "start", UNIT).status != 0, "it started")
    (priority, text), *_ = await_journal(machine, since, f"{scene.folder}/kaproxy.ini:4: ")
    t.equal(priority, 3, f"the priority of {text!r}")


@test("messages have their priorities")
def priorities(t):
    machine = started(t)
    since = cursor(machine)
    configure(machine, listener("other", "127.0.0.1:8080"), "a.ini")
    t.check(machine.run("systemctl", "start", "kaproxy@a").status != 0, "two share one port")
    (priority, text), *_ = await_journal(machine, since, "Address already in use")
    t.equal(priority, 3, f"the priority of {text!r}")
    machine.must("systemctl", "stop", "kaproxy@a")
    since = cursor(machine)
    machine.must("systemctl", "restart", UNIT)
    (priority, text), *_ = await_journal(machine, since, "ready")
    t.equal(priority, 5, f"the priority of {text!r}")
    t.check(not text.startswith("<"), f"a priority stayed in {text!r}")


@test("reload: another listener, in the same process")
def reload(t):
    machine = started(t)
    pid = main_pid(machine)
    clients = Clients(machine)
    configure(machine, listener("example", "127.0.0.1:8080") + listener("more", "127.0.0.1:8081"))
    machine.must("systemctl", "reload", UNIT)
    t.equal(ask(machine, 8081), "200", "response of the new listener")
    clients.finish(t)
    t.equal((main_pid(machine), machine.show(UNIT, "ActiveState")), (pid, "active"), "process")


@test("reload of a file with mistakes: it fails, says why, and nothing changes")
def bad_reload(t):
    machine = started(t)
    pid = main_pid(machine)
    since = cursor(machine)
    clients = Clients(machine)
    configure(machine, listener("other", "127.0.0.1:8081") + "nonsense = 1\n")
    t.check(machine.run("systemctl", "reload", UNIT).status != 0, "the reload succeeded")
    # kaproxyctl's own output is there too.
    (priority, text), *_ = await_journal(machine, since,
                                         f"reload: {scene.folder}/kaproxy.ini:4: ")
    t.equal(priority, 3, f"the priority of {text!r}")
    clients.finish(t)
    t.equal((main_pid(machine), machine.show(UNIT, "ActiveState"), ask(machine, 8081)),
            (pid, "active", "000"), "process, state, response of a listener that must not exist")
    # And it can be fixed.
    configure(machine, listener("example", "127.0.0.1:8080") + listener("other", "127.0.0.1:8081"))
    machine.must("systemctl", "reload", UNIT)
    t.equal(ask(machine, 8081), "200", "response")


@test("handover: another process, the same service, and no client that fails")
def hand_over(t):
    machine = started(t)
    since = cursor(machine)
    before = main_pid(machine)
    active_since = machine.show(UNIT, "ActiveEnterTimestampMonotonic")
    clients = Clients(machine)
    hand_over_main(machine, before)
    await_end(machine, before)
    clients.finish(t)
    t.equal(machine.show(UNIT, "ActiveState"), "active", "state")
    t.equal(machine.show(UNIT, "ActiveEnterTimestampMonotonic"), active_since, "active since")
    t.equal(machine.show(UNIT, "NRestarts"), "0", "restarts")
    # The watchdog, the state and the stop are the new one's.
    wait_until(lambda: "client" in machine.show(UNIT, "StatusText"), "its line")
    machine.must("systemctl", "reload", UNIT)
    machine.must("systemctl", "stop", UNIT)
    t.equal(machine.show(UNIT, "Result"), "success", "result")
    t.equal(warnings(machine, since), [], "warnings and errors")


@test("handover: systemd accepts the new process as its own, and so every stop is in order")
def stop_after_hand_over(t):
    machine = started(t)
    for _ in range(5):
        since = cursor(machine)
        before = main_pid(machine)
        after = hand_over_main(machine, before)
        await_end(machine, before)
        t.equal(machine.must("grep", "PPid", f"/proc/{after}/status").split(), ["PPid:", "1"],
                "its parent")
        machine.must("systemctl", "stop", UNIT)
        t.equal(machine.show(UNIT, "Result"), "success", "result")
        await_journal(machine, since, "stopped")
        t.equal(warnings(machine, since), [], "warnings and errors")
        t.equal([text for _, text in journal(machine, since) if "Killing process" in text], [],
                "processes that were killed")
        machine.must("systemctl", "start", UNIT)


IDLE_CLIENT = """exec 3<>/dev/tcp/127.0.0.1/8080
printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3
read -r line <&3
echo "$line" >/run/idle.line
cat <&3 >/dev/null
"""


@test("stop while an old process drains: its idle client does not delay it, and none is killed")
def stop_while_one_drains(t):
    machine = started(t)
    since = cursor(machine)
    before = main_pid(machine)
    machine.must("rm", "-f", "/run/idle.line")
    client = spawn(machine.command("bash", "-c", IDLE_CLIENT))
    wait_until(lambda: "200" in machine.run("cat", "/run/idle.line").output, "its response")
    hand_over_main(machine, before)
    await_journal(machine, since, "1 sessions may finish here")
    machine.must("test", "-d", f"/proc/{before}")
    machine.must("systemctl", "stop", UNIT)
    client.wait(30)
    t.equal(machine.show(UNIT, "Result"), "success", "result")
    t.equal(warnings(machine, since), [], "warnings and errors")
    texts = [text for _, text in journal(machine, since)]
    t.check(any("SIGTERM: 1 sessions end as soon as they can" in text for text in texts),
            "the old process was not asked to end")
    t.check(not any("Killing process" in text for text in texts), "a process was killed")


@test("a crash after a handover: systemd notices, and restarts the service")
def crash_after_hand_over(t):
    machine = started(t)
    before = main_pid(machine)
    after = hand_over_main(machine, before)
    await_end(machine, before)
    machine.must("systemctl", "kill", "-s", "KILL", "--kill-who=main", UNIT)
    await_restart(machine, after)
    t.equal(ask(machine), "200", "response")


@test("handover with a bad file: the old process continues")
def bad_hand_over(t):
    machine = started(t)
    since = cursor(machine)
    before = main_pid(machine)
    clients = Clients(machine)
    configure(machine, "nonsense\n")
    machine.must("systemctl", "kill", "-s", "USR2", "--kill-who=main", UNIT)
    await_journal(machine, since, f"{scene.folder}/kaproxy.ini:1: ")
    clients.finish(t)
    t.equal((main_pid(machine), machine.show(UNIT, "ActiveState")), (before, "active"),
            "process and state")


def socket_unit(machine):
    """The example, and a unix socket as it suggests."""
    text = (SOURCE / "contrib/systemd/kaproxy.socket").read_text()
    text = re.sub(r"^#(ListenStream=)", r"\1", text, flags=re.M)
    machine.write("/etc/systemd/system/kaproxy.socket", text)
    machine.must("systemctl", "daemon-reload")


@test("socket activation: the first client starts it, and none is refused while it restarts")
def activation(t):
    machine = start_over(t)
    configure(machine, listener("example", "127.0.0.1:8080 unix:/run/kaproxy-example.sock"))
    socket_unit(machine)
    machine.must("systemctl", "start", "kaproxy.socket")
    t.equal(machine.show(UNIT, "ActiveState"), "inactive", "state before any client")
    t.equal(ask(machine), "200", "response")
    t.equal(machine.must("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket",
                         "/run/kaproxy-example.sock", "http://localhost/"), "200",
            "response at the unix socket")
    before = main_pid(machine)
    clients = Clients(machine)
    machine.must("systemctl", "restart", UNIT)
    clients.finish(t)
    t.check(main_pid(machine) != before, "it was not restarted")
    machine.must("systemctl", "stop", UNIT)
    machine.must("test", "-S", "/run/kaproxy-example.sock")
    t.equal(ask(machine), "200", "response after a stop")
    since = cursor(machine)
    configure(machine, listener("example", "unix:/run/kaproxy-example.sock"))
    warning = "nothing accepts clients of 127.0.0.1:8080 any more, but systemd still listens there"
    t.check(warning in machine.must("kaproxyctl", "reload"), "the reload does not warn")
    await_journal(machine, since, warning)


def await_restart(machine, before):
    wait_until(lambda: machine.show(UNIT, "NRestarts") == "1" and
               machine.show(UNIT, "ActiveState") == "active" and
               main_pid(machine) not in (0, before), "systemd to restart it")


@test("watchdog: a process that is stopped is restarted")
def watchdog_process(t):
    machine = start_over(t)
    drop_in(machine, "[Service]\nWatchdogSec=2\n")
    configure(machine, listener("example", "127.0.0.1:8080"))
    machine.must("systemctl", "start", UNIT)
    since = cursor(machine)
    before = main_pid(machine)
    machine.must("systemctl", "kill", "-s", "STOP", UNIT)
    await_restart(machine, before)
    await_journal(machine, since, "Watchdog timeout")
    t.equal(ask(machine), "200", "response")


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000  # waitpid(2): threads too


class StoppedThread:
    """One thread of a process is stopped, and the others run."""

    def __init__(self, pid, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                                     ctypes.c_void_p]
        tasks = [int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                 if (task / "comm").read_text().strip() == name]
        if len(tasks) != 1:
            raise Failure(f"there are {len(tasks)} threads {name}")
        self.tid = tasks[0]
        for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
            if self.libc.ptrace(request, self.tid, None, None) != 0:
                raise Skip(f"no thread can be stopped: {os.strerror(ctypes.get_errno())}")
        os.waitpid(self.tid, WALL)

    def close(self):
        """Releases it. It can only end, with its process, when the process that stopped it has
        noticed."""
        try:
            while self.libc.ptrace(PTRACE_DETACH, self.tid, None, None) != 0:
                os.waitpid(self.tid, WALL)
        except ChildProcessError:
            pass


@test("watchdog: a process of which only the loop hangs is restarted")
def watchdog_loop(t):
    machine = start_over(t)
    drop_in(machine, "[Service]\nWatchdogSec=2\n")
    configure(machine, listener("example", "127.0.0.1:8080"))
    machine.must("systemctl", "start", UNIT)
    since = cursor(machine)
    before = main_pid(machine)
    thread = t.own(StoppedThread(machine.host_pid(before), "kaproxy-worker"))
    # The control thread is well.
    machine.must("curl", "-sS", "--unix-socket", "/run/kaproxy/admin.sock", "http://localhost/metrics")
    await_journal(machine, since, "Watchdog timeout")
    thread.close()
    await_restart(machine, before)
    t.equal(ask(machine), "200", "response")


@test("instances: next to each other and to kaproxy.service, each with its own folders")
def instances(t):
    machine = started(t)
    for name, port in ("a", 8081), ("b", 8082):
        configure(machine, f"[kaproxy]\naccess_log = /var/log/kaproxy/{name}/access.log\n" +
                  listener("example", f"127.0.0.1:{port}"), f"{name}.ini")
        machine.must("systemctl", "start", f"kaproxy@{name}")
        t.equal(ask(machine, port), "200", f"response of {name}")
        t.equal(user_of(machine, f"kaproxy@{name}"), "kaproxy", f"user of {name}")
    machine.must("systemctl", "stop", UNIT)
    for name, port in ("a", 8081), ("b", 8082):
        t.equal(ask(machine, port), "200", f"response of {name}, alone")
        machine.must("kaproxyctl", "-s", f"unix:/run/kaproxy-{name}/admin.sock", "status")
        wait_until(lambda name=name: machine.run(
            "wc", "-l", f"/var/log/kaproxy/{name}/access.log").output.startswith("2 "),
            f"the access log of {name}")
    configure(machine, listener("example", "127.0.0.1:8083"), "a.ini")
    machine.must("systemctl", "reload", "kaproxy@a")
    t.equal((ask(machine, 8083), ask(machine, 8082)), ("200", "200"), "after a reload of one")


@test("stop: in order, and nothing is left")
def stop(t):
    machine = started(t)
    since = cursor(machine)
    t.equal(ask(machine), "200", "response")
    machine.must("systemctl", "stop", UNIT)
    t.equal((machine.show(UNIT, "ActiveState"), machine.show(UNIT, "Result")),
            ("inactive", "success"), "state and result")
    await_journal(machine, since, "stopped")
    t.equal(machine.must("ls", "-A", "/run/kaproxy"), "", "what is in /run/kaproxy, which stays")
    t.equal([text for priority, text in journal(machine, since) if priority <= 4], [],
            "warnings and errors")


if __name__ == "__main__":
    run(main)
