# SPDX-License-Identifier: ISC
"""Reloads: the file is edited, SIGHUP sent, and its outcome is awaited in the log."""

import os
import re
import signal

from .tap import Failure, wait_until

GOOD, BAD = r" notice: reloaded \S+: ", r" error: reload failed: "


def keep_ports(kaproxy):
    """The value of each {port}: a further edit must not choose others."""
    kaproxy.sections = {name: dict(values) for name, values in kaproxy.sections.items()}
    section = None
    for line in kaproxy.file.read_text().splitlines():
        if line.startswith("["):
            section = kaproxy.sections[line.strip("[]")]
        elif " = " in line and "{port}" in str(section.get(line.split(" = ")[0])):
            key, value = line.split(" = ", 1)
            section[key] = value


def edit(kaproxy, changes):
    """{"pool": {"max_open": 3}}: further values of sections; None instead of a value, or of a
    section, removes it. {port} is another free port."""
    keep_ports(kaproxy)
    for name, values in changes.items():
        if values is None:
            del kaproxy.sections[name]
        else:
            kaproxy.sections[name] = {**kaproxy.sections.get(name, {}), **values}
    write(kaproxy)
    keep_ports(kaproxy)


def write(kaproxy):
    """The file is never half written: it may be read at any time."""
    final = kaproxy.file
    kaproxy.file = final.with_suffix(".new")
    try:
        kaproxy._write_ini()
        os.replace(kaproxy.file, final)
    finally:
        kaproxy.file = final


def outcomes(kaproxy):
    return kaproxy.find_log(f"{GOOD}|{BAD}")


def wait_outcome(kaproxy, count):
    """Line `count` of all that report how a reload ended."""
    return wait_until(lambda: len(lines := outcomes(kaproxy)) >= count and lines,
                      f"the end of reload {count}")[count - 1]


def ask(kaproxy):
    """Sends SIGHUP: the line that reports how it ended."""
    before = len(outcomes(kaproxy))
    kaproxy.signal(signal.SIGHUP)
    return wait_outcome(kaproxy, before + 1)


def reload(kaproxy, changes=None):
    """A reload that must succeed: what changes, as the log has it."""
    edit(kaproxy, changes or {})
    line = ask(kaproxy)
    if not re.search(GOOD, line):
        raise Failure("\n".join(kaproxy.find_log(" error: ")[-5:]))
    return re.split(GOOD, line)[1]


def reload_failing(kaproxy, changes=None):
    """One that must fail: its mistakes. The file is restored afterwards."""
    keep_ports(kaproxy)
    text, sections = kaproxy.file.read_text(), kaproxy.sections
    addresses = kaproxy.addresses
    before = len(kaproxy.find_log(" error: reload: "))
    try:
        kaproxy.sections = dict(sections)
        edit(kaproxy, changes or {})
        line = ask(kaproxy)
    finally:
        kaproxy.sections, kaproxy.addresses = sections, addresses
        kaproxy.file.write_text(text)
    if not re.search(BAD, line):
        raise Failure(f"it went well: {line}")
    return [line.split(" error: reload: ")[1]
            for line in kaproxy.find_log(" error: reload: ")[before:]]


def with_text(kaproxy, text):
    """The same with a file of this text: its mistakes."""
    good = kaproxy.file.read_text()
    before = len(kaproxy.find_log(" error: reload: "))
    try:
        kaproxy.file.write_text(text)
        line = ask(kaproxy)
    finally:
        kaproxy.file.write_text(good)
    if not re.search(BAD, line):
        raise Failure(f"it went well: {line}")
    return [line.split(" error: reload: ")[1]
            for line in kaproxy.find_log(" error: reload: ")[before:]]


def listening(kaproxy):
    """The inodes of TCP sockets that it listens on, by port."""
    inodes = {}
    with open("/proc/net/tcp", encoding="ascii") as table:
        for row in table.readlines()[1:]:
            fields = row.split()
            if fields[3] == "0A":
                inodes[f"socket:[{fields[9]}]"] = int(fields[1].split(":")[1], 16)
    found = {}
    for name in os.listdir(f"/proc/{kaproxy.pid}/fd"):
        try:
            target = os.readlink(f"/proc/{kaproxy.pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if target in inodes:
            found[inodes[target]] = target
    return found
