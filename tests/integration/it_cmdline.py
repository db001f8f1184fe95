#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the command line does what the manual says, with the right exit status."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, answer_lines, main, test
from kaptest.kaproxy import PROGRAM
from kaptest.peers import need
from kaptest.ports import free_port
from kaptest.tls_ca import authority

GOOD = """\
[listener main]
listen = 127.0.0.1:6380
upstream = tcp://127.0.0.1:2
reuse = quiet
"""

BAD = """\
[pool]
max_open = 4x
nonsense = 1
[listener main]
listen = 127.0.0.1:1
upstream = https://example.com
tls_ca_file = missing/ca.pem
tls_min_version = 1.1
"""

TLS = """\
[listener main]
listen = 127.0.0.1:6380
upstream = https://example.com
tls_ca_file = {ca}
tls_cert_file = {cert}
tls_key_file = {key}
"""


def run(*arguments, wrap=(), given=""):
    done = subprocess.run([*wrap, PROGRAM, *arguments], input=given, capture_output=True, text=True,
                          timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


@test("-h and -V: text on standard output, status 0")
def help_and_version(t):
    status, out, err = run("-h")
    t.equal((status, err), (0, ""), "-h")
    for option in "-c", "-t", "-V", "-h":
        t.check(option in out, f"{option} is not in the help")
    status, out, err = run("-V")
    t.equal((status, err), (0, ""), "-V")
    t.check(out.startswith("kaproxy ") and out.count("\n") >= 1, f"-V printed {out!r}")


@test("-t on a valid file: ok, status 0, and nothing is opened")
def good(t):
    file = t.folder / "good.ini"
    file.write_text(GOOD)
    t.equal(run("-t", "-c", str(file)), (0, f"{file}: ok\n", ""), "-t")


@test("-t -v prints the effective values as a file that gives the same when read back")
def verbose(t):
    file = t.folder / "good.ini"
    file.write_text(GOOD)
    status, out, err = run("-t", "-v", "-c", str(file))
    t.equal((status, err), (0, ""), "-t -v")
    t.check(f"{file}: ok" in out, "no ok")
    for line in "max_per_host = 4", "max_open = 128", "keep_alive = 15", "idle_timeout = 300":
        t.check(line in out, f"{line!r} is not among the values")
    again = t.folder / "again.ini"
    again.write_text("\n".join(l for l in out.splitlines() if not l.endswith(": ok")))
    second = run("-t", "-v", "-c", str(again))[1]
    t.equal(second.replace(str(again), str(file)).split(), out.split(), "values read back")


@test("-t of a pipe, as a shell makes one: ok")
def pipe(t):
    t.equal(run("-t", "-c", "/dev/stdin", given=GOOD), (0, "/dev/stdin: ok\n", ""), "-t")


@test("a bad file: every mistake with its line, status 1, with and without -t")
def bad(t):
    file = t.folder / "bad.ini"
    file.write_text(BAD)
    for arguments in ("-t", "-c", str(file)), ("-c", str(file)):
        status, out, err = run(*arguments)
        t.equal((status, out), (1, ""), "status and standard output")
        lines = err.splitlines()
        for line in 2, 3, 7, 8:
            named = [text for text in lines if text.startswith(f"{file}:{line}: ")]
            t.check(named, f"line {line} is not named")
        t.equal(len(lines), 4, f"mistakes in {lines}")
        t.check(f"{file}:7: tls_ca_file: missing/ca.pem: No such file or directory" in lines,
                f"not among {lines}")


def errors(t, file, wrap=()):
    """What -t and a start find, each without what precedes the text."""
    status, out, err = run("-t", "-c", str(file), wrap=wrap)
    t.equal((status, out), (1, ""), "-t: status and standard output")
    place = re.compile(rf"{re.escape(str(file))}:(\d+:)? ")
    checked = [place.sub("", line, 1) for line in err.splitlines() if place.match(line)]
    status, _, err = run("-c", str(file), wrap=wrap)
    t.equal(status, 1, "status of the start")
    said = [line.partition(" error: ")[2] for line in err.splitlines() if " error: " in line]
    started = [place.sub("", line, 1) for line in said if place.match(line)]
    t.equal(len(started), len(said), f"messages of the start with a place, of {said}")
    return [line for line in checked if not line.startswith("warning: ")], started


@test("-t finds what would make a start fail, with the same message, and creates nothing")
def same_as_start(t):
    file = t.folder / "start.ini"
    (t.folder / "file").touch()
    for text, why in (("[kaproxy]\nlog = {folder}/none/a.log\naccess_log = {folder}/file/b.log\n",
                       ["cannot open the log {folder}/none/a.log: No such file or directory",
                        "cannot open the access log {folder}/file/b.log: Not a directory"]),
                      ("[kaproxy]\naccess_log = {folder}\n",
                       ["cannot open the access log {folder}: Is a directory"]),
                      ("[listener u]\nlisten = unix:{folder}/none/k\nupstream = http://localhost\n",
                       ["listener u: cannot listen on unix:{folder}/none/k: No such file or "
                        "directory"]),
                      ("[listener u]\nlisten = unix:{folder}/file\nupstream = http://localhost\n",
                       ["listener u: cannot listen on unix:{folder}/file: File exists"])):
        file.write_text(text.format(folder=t.folder) + GOOD.replace("6380", str(free_port())))
        before = sorted(t.folder.iterdir())
        checked, started = errors(t, file)
        t.equal(checked, [line.format(folder=t.folder) for line in why], "what -t finds")
        t.equal(started, checked, "what the start finds")
        t.equal(sorted(t.folder.iterdir()), before, "files")


@test("-t finds a limit of descriptors that is too low, as the start does")
def descriptors(t):
    file = t.folder / "start.ini"
    file.write_text("[pool]\nmax_per_host = 40\n" + GOOD)
    checked, started = errors(t, file, wrap=[need("prlimit"), "--nofile=70"])
    t.check(checked[0].startswith("the limit of 70 descriptors leaves none for clients") and
            checked[0].endswith(" raise it (LimitNOFILE, ulimit -n) or lower max_open"),
            f"what -t finds: {checked}")
    t.equal(started, checked, "what the start finds")
    status, out, err = run("-t", "-c", str(file), wrap=[need("prlimit"), "--nofile=100"])
    t.equal((status, out), (0, f"{file}: ok\n"), "-t where fewer clients fit")
    t.check("warning: max_clients is lowered from 4096 to " in err, f"what it warns of: {err!r}")


@test("-t warns of an address that is not this machine's, and of tls_verify = no")
def warnings(t):
    file = t.folder / "warned.ini"
    file.write_text(GOOD.replace("127.0.0.1:6380", "192.0.2.1:6380").replace(
        "tcp://", "tls://") + "tls_verify = no\n")
    status, out, err = run("-t", "-c", str(file))
    t.equal((status, out), (0, f"{file}: ok\n"), "-t")
    t.equal(err.splitlines(), [
        f"{file}:1: warning: listener main: tls_verify = no, anybody can pose as the upstream",
        f"{file}:2: warning: listener main: cannot listen on 192.0.2.1:6380: Cannot assign "
        "requested address"], "warnings")


@test("-t while a process runs with the same file: ok, and it keeps its logs and sockets")
def beside(t):
    fifo = t.folder / "access.fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    t.callback(os.close, reader)
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"access_log": fifo},
                        listen=f"127.0.0.1:{{port}} unix:{t.folder}/k.sock")
    t.equal(run("-t", "-c", str(kaproxy.file)), (0, f"{kaproxy.file}: ok\n", ""), "-t")
    for index in 0, 1:
        t.equal(kaproxy.connect(index=index).ask(b"a")[-2:], b" a", "response")


@test("the same as root: as the user that the start would become")
def as_user(t):
    if os.geteuid() != 0:
        raise Skip("only root can change its user")
    t.folder.chmod(0o755)
    logs, file = t.folder / "logs", t.folder / "start.ini"
    logs.mkdir(0o755)
    mine = t.folder / "precious"
    mine.touch(0o600)
    for path in logs / "a.log", mine:
        file.write_text(f"[kaproxy]\nuser = nobody\nlog = {path}\n" + GOOD)
        checked, started = errors(t, file)
        t.equal(checked, [f"cannot open the log {path} as user nobody: Permission denied"],
                "what -t finds")
        t.equal(started, checked, "what the start finds")
    shutil.chown(logs, "nobody")
    file.write_text(f"[kaproxy]\nuser = nobody\nlog = {logs}/a.log\n" + GOOD)
    t.equal(run("-t", "-c", str(file)), (0, f"{file}: ok\n", ""), "-t")
    t.equal(list(logs.iterdir()), [], "files")


@test("-t with certificates: ok for good ones, a warning for an expired one, or else the mistake")
def certificates(t):
    file = t.folder / "tls.ini"

    def check(certificate, key):
        file.write_text(TLS.format(ca=authority().root.alone, cert=certificate.file, key=key.key))
        return run("-t", "-c", str(file))

    valid, expired = authority().valid, authority().expired
    t.equal(check(valid, valid), (0, f"{file}: ok\n", ""), "-t with a valid one")
    said = "the certificate of CN=expired expired on 2021-01-01"
    warning = f"{file}:5: warning: tls_cert_file: {expired.file}: {said}\n"
    t.equal(check(expired, expired), (0, f"{file}: ok\n", warning), "-t with an expired one")
    mistake = f"{file}:6: tls_key_file: {expired.key}: does not match the certificate\n"
    t.equal(check(valid, expired), (1, "", mistake), "-t with another one's key")


@test("the start: a warning for tls_verify = no and for an expired certificate, and it continues")
def start(t):
    expired = authority().expired
    kaproxy = t.kaproxy("tls://127.0.0.1:1", listener={
        "tls_verify": "no", "tls_cert_file": expired.file, "tls_key_file": expired.key})
    t.equal(len(kaproxy.find_log(r"warning: .*ini:\d+: listener main: tls_verify = no")), 1, "tls_verify")
    t.equal(len(kaproxy.find_log(r"ini:\d+: warning: tls_cert_file: .* expired on 2021-01-01$")), 1,
            "certificate")
    quiet = t.kaproxy("tls://localhost:1")
    t.equal(quiet.find_log("warning: .*(tls|certificate)"), [], "warnings of another one")


@test("as root: what a reload reads must be readable by the user that the start would become")
def readable(t):
    if os.geteuid() != 0:
        raise Skip("only root can change its user")
    t.folder.chmod(0o755)
    file, valid = t.folder / "tls.ini", authority().valid
    paths = {name: t.folder / name for name in ("ca", "cert", "key")}
    for name, content in ("ca", authority().root.alone), ("cert", valid.file), ("key", valid.key):
        paths[name].write_text(content.read_text())
    text = TLS.format(**paths) + "[kaproxy]\nuser = nobody\n"
    file.write_text(text)
    t.equal(run("-t", "-c", str(file)), (0, f"{file}: ok\n", ""), "-t")
    t.kaproxy("tls://127.0.0.1:1", main={"user": "nobody", "access_log": "off"}, listener={
        "tls_cert_file": paths["cert"], "tls_key_file": paths["key"]}).stop()
    for path in *paths.values(), file:
        path.chmod(0o600)
    status, out, err = run("-t", "-c", str(file))
    why = "cannot be read by user nobody, as a reload must: Permission denied\n"
    keys = enumerate(("ca", "cert", "key"), 4)
    t.equal((status, out, err), (1, "", f"{file}: this file {why}" + "".join(
        f"{file}:{line}: tls_{name}_file: {paths[name]} {why}" for line, name in keys)), "-t")
    status, out, started = run("-c", str(file))
    t.equal((status, out), (1, ""), "the start")
    found = re.findall(r"error: (.*\n)", started)
    t.equal("".join(found), err, "what the start finds")


@test("a missing file, an empty one, unknown options and surplus words: status 1 and a message")
def other_errors(t):
    empty = t.folder / "empty.ini"
    empty.write_text("")
    missing = t.folder / "missing.ini"
    for arguments, word in (((f"-c{missing}",), "missing.ini"), ((f"-c{empty}",), "empty.ini"),
                            (("-c",), "c"), (("-x",), "x"), (("-t", f"-c{empty}", "more"), "more"),
                            (("-v",), "-v goes with -t")):
        status, out, err = run(*arguments)
        t.equal((status, out), (1, ""), f"{arguments}: status and standard output")
        t.check(word in err, f"{arguments}: {word} is not in {err!r}")


main()
