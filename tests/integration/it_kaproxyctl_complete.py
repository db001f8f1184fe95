#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: in an interactive bash and an interactive zsh Tab completes kaproxyctl's verbs,
its options, and the names of pools, upstreams and listeners that the running kaproxy has."""

import copy
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.ctl import CTL, Admin, environment, run
from kaptest.kaproxy import PROGRAM, TESTS
from kaptest.peers import need
from kaptest.screen import Screen

FOLDER = TESTS.parent / "contrib/completion"

BASH = r"""
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind -x '"\C-g": printf "<%s>\n" "$READLINE_LINE"; READLINE_LINE='
. {folder}/kaproxyctl.bash
. {folder}/kaproxy.bash
"""

ZSH = r"""
unsetopt beep prompt_sp
fpath=({folder} $fpath)
autoload -U compinit
compinit -u -D
show() {{ zle -I; print -r -- "<$BUFFER>"; BUFFER= }}
zle -N show
bindkey '^G' show
"""


class Shell:
    """An interactive shell. A key of our own makes it print its line, and clear it."""

    def __init__(self, t, command, text, **variables):
        file = t.folder / "rc"
        file.write_text(text.format(folder=FOLDER))
        path = f"{pathlib.Path(CTL).parent}:{os.environ['PATH']}"
        env = environment(TERM="dumb", PATH=path, PS1="$ ", HOME=str(t.folder), **variables)
        self.screen = Screen(t, command, columns=200, rows=50, env=env)
        self.seen = 0
        self.screen.type(f". {file}; echo READY''NOW\n")
        self.wait("READYNOW")

    def wait(self, pattern):
        """The matches in what was written since the last time."""
        match = wait_until(lambda: re.compile(pattern, re.S).search(self.screen.text, self.seen),
                           f"{pattern!r} in {self.screen.text[self.seen:]!r}")
        self.seen = match.end()
        return match

    def complete(self, line, key="\t"):
        """What Tab after a line turns it into."""
        self.screen.type(line + key + "\007")
        return self.wait("<([^>]*)>")[1]


def bash(t, extra=""):
    return Shell(t, [need("bash"), "--norc", "--noprofile", "-i"], BASH + extra)


def zsh(t, extra=""):
    return Shell(t, [need("zsh"), "-f", "-i"], ZSH + extra)


def served(t):
    """Including names that kaproxy.ini does not permit."""
    server = t.own(Admin(t.folder / "admin.sock"))
    for name in "http://[::1]:8080", "https://example.com:443":
        server.status["hosts"].append({**copy.deepcopy(server.status["hosts"][0]), "upstream": name})
    for name in "$(touch x)", "a b", "c;d":
        server.status["listeners"].append({"name": name})
    return server


WORDS = [
    ("resu", "resume "),
    ("log", "log-level "),
    ("relo", "reload "),
    ("reload --js", "reload --json "),
    ("log-level de", "log-level debug "),
    ("help reco", "help reconnect "),
    ("--json pau", "--json pause "),
    ("drain --no", "drain --no-wait "),
    ("pause --no", "pause --no-wait "),
    ("status --che", "status --check "),
    ("drain --timeo", "drain --timeout "),
    ("--max-time 3 hosts --nam", "--max-time 3 hosts --names "),
    ("status --poo", "status --poo"),
    ("nonsense --nothi", "nonsense --nothi"),
    ("status resu", "status resu"),
]


def names(place):
    where = f"-s {place}"
    return [
        (f"{where} pause --pool ca", f"{where} pause --pool cache "),
        (f"{where} pause --pool=ca", f"{where} pause --pool=cache "),
        (f"{where} drain --listener w", f"{where} drain --listener web "),
        (f"{where} pause --host redis", f"{where} pause --host redis://192.0.2.2:6379 "),
        (f"{where} pause --host https:", f"{where} pause --host https://example.com:443 "),
        (f"{where} pause --host=https://ex", f"{where} pause --host=https://example.com:443 "),
        (f"pause {where} --pool de", f"pause {where} --pool default "),
        (f"pause --socket={place} --pool de", f"pause --socket={place} --pool default "),
    ]


def check(t, shell, cases):
    for typed, expected in cases:
        t.equal(shell.complete("kaproxyctl " + typed), "kaproxyctl " + expected, typed)


@test("bash: verbs, options and their words")
def bash_words(t):
    shell = bash(t)
    check(t, shell, WORDS)
    line = shell.complete("kaproxyctl p", "\033*")  # insert-completions
    t.equal(sorted(line.split()[1:]), ["pause", "pools"], "all that begin so")


@test("bash: names of the kaproxy that -s names; also if colons and = are not breaks")
def bash_names(t):
    server = served(t)
    shells = [bash(t, extra) for extra in (
        "", "COMP_WORDBREAKS=${{COMP_WORDBREAKS//:/}}\n", "COMP_WORDBREAKS=${{COMP_WORDBREAKS//[=:]/}}\n")]
    for shell in shells:
        check(t, shell, names(server.place))
    line = shells[0].complete(f"kaproxyctl -s {server.place} drain --listener ", "\033*")
    t.equal(sorted(line.split()[5:]), ["kv", "web"], "no words that a shell would run")
    asked = len(server.requests)
    check(t, shells[0], [("resu", "resume ")])
    t.equal(len(server.requests), asked, "unneeded requests")


@test("bash: KAPROXY_ADMIN; files for -s and -c; and nothing is written if there is no server")
def bash_places(t):
    server = served(t)
    shell = bash(t, f"export KAPROXY_ADMIN={server.place}\n")
    check(t, shell, [("pause --pool ca", "pause --pool cache "),
                     (f"-s unix:{t.folder}/adm", f"-s unix:{server.address} "),
                     (f"-c {t.folder}/adm", f"-c {server.address} "),
                     ("-s unix:/none pause --pool ca", "-s unix:/none pause --pool ca")])
    t.check("kaproxyctl: " not in shell.screen.text, "an error is written")


@test("zsh: verbs, options and their words")
def zsh_words(t):
    check(t, zsh(t), WORDS)


@test("zsh: names of the kaproxy that -s or KAPROXY_ADMIN names")
def zsh_names(t):
    server = served(t)
    check(t, zsh(t), names(server.place))
    check(t, zsh(t, f"export KAPROXY_ADMIN={server.place}\n"),
          [("pause --pool ca", "pause --pool cache ")])


@test("what the shells offer: verbs as in the help, and options as each verb accepts them")
def lists(t):
    code, verbs, err = run("complete", "verbs")
    t.equal((code, err), (0, ""), "complete verbs")
    t.equal(verbs.split(), re.findall(r"^  (\S+) ", run("help")[1].split("\n\n")[1] + "\n", flags=re.M),
            "verbs")
    for verb in verbs.split():
        code, options, err = run("complete", verb)
        t.equal((code, err), (0, ""), f"complete {verb}")
        code, described, err = run("help", verb)
        t.equal((code, err), (0, ""), f"help {verb}")
        for option in options.split():
            t.check(option.rstrip("=") in described, f"{option} is not in the help of {verb}")
    code, out, err = run("help", "nothing")
    t.equal((code, out), (2, ""), "help of what there is not")
    t.check('there is no verb "nothing"' in err, err)


@test("bash and zsh: kaproxy's own options, as in the help, and files for -c")
def kaproxy(t):
    (t.folder / "some file.ini").touch()
    text = subprocess.run([PROGRAM, "-h"], capture_output=True, text=True, check=True).stdout
    options = re.findall(r"^  (-\w)", text, flags=re.M)
    for shell, tabs in (bash(t), "\t\t"), (zsh(t), "\t"):
        t.equal(shell.complete(f"kaproxy -t -c {t.folder}/some"),
                f"kaproxy -t -c {t.folder}/some\\ file.ini ", "the file of -c")
        shell.screen.type(f"kaproxy -{tabs}")
        for option in sorted(options):
            shell.wait(rf"\s{option}\b")
        shell.screen.type("\007")
        shell.wait("<kaproxy ->")


main()
