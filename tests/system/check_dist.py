#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: what packagers rely on. `make dist` and two builds of its archive give the
same bytes, wherever, whenever and by whichever user they are made; every directory variable is
respected, and nothing else is written; `make uninstall` leaves nothing; each program and file has
its page."""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, main, test
from kaptest.machine import BUILD

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD_MAX = 1200  # seconds
EPOCH = "1700000000"
ABOUT = ["Report bugs to: bugs@kaproxy.example", "Home page: https://kaproxy.example/"]

# Each somewhere else, and none in its default place.
FOLDERS = {"prefix": "/p", "exec-prefix": "/e", "bindir": "/odd/bin", "sbindir": "/odd/superuser",
           "libdir": "/odd/libraries", "libexecdir": "/odd/helpers", "sysconfdir": "/odd/settings",
           "localstatedir": "/odd/state", "runstatedir": "/odd/run", "datarootdir": "/odd/root",
           "datadir": "/odd/data", "docdir": "/odd/documents", "mandir": "/odd/pages"}
OWN_FOLDERS = {"systemdsystemunitdir": "/odd/units", "sysusersdir": "/odd/users",
               "tmpfilesdir": "/odd/folders"}
INSTALLED = """
/odd/data/bash-completion/completions/kaproxy.bash
/odd/data/bash-completion/completions/kaproxyctl.bash
/odd/data/zsh/site-functions/_kaproxy
/odd/data/zsh/site-functions/_kaproxyctl
/odd/documents/examples/*
/odd/folders/kaproxy.conf
/odd/pages/man5/kaproxy.ini.5
/odd/pages/man8/kaproxy.8
/odd/pages/man8/kaproxyctl.8
/odd/settings/kaproxy/kaproxy.ini
/odd/superuser/kaproxy
/odd/superuser/kaproxyctl
/odd/units/kaproxy.service
/odd/units/kaproxy@.service
/odd/users/kaproxy.conf
""".split()


def run(command, folder, umask=0o022, **variables):
    """Not as part of the make that may run this."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SOURCE_DATE_EPOCH")}
    done = subprocess.run(["sh", "-c", f'umask {umask:o} && exec "$@"', "sh", *map(str, command)],
                          cwd=folder, env={**environment, **variables}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=BUILD_MAX, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: {done.stdout[-1500:]}")
    return done.stdout


class Distribution:
    """The archive and two builds of it, made before the tests, which have a time limit."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kaproxy-dist-"))
        self._archive, self._builds, self._why = None, [], Failure("it was not made")

    def close(self):
        shutil.rmtree(self.folder)

    def make(self):
        try:
            run(["make", "tests/conformance/pool_driver"], BUILD)  # nothing of it is distributed
            run(["make", "dist"], BUILD, SOURCE_DATE_EPOCH=EPOCH)
            version = re.search(r"^AC_INIT\(\[kaproxy\], \[([^]]+)\]",
                                (SOURCE / "configure.ac").read_text(), flags=re.M)[1]
            self._archive = pathlib.Path(shutil.copy2(BUILD / f"kaproxy-{version}.tar.xz",
                                                      self.folder))
            self._build("one", 0o022, LC_ALL="C", TZ="UTC")
            self._build("another/and/deeper", 0o077, LC_ALL="C.UTF-8", TZ="Asia/Tokyo")
            self._why = None
        except (Failure, OSError, ValueError, subprocess.SubprocessError) as why:
            self._why = Failure(str(why))

    def _build(self, name, umask, **environment):
        folder = self.folder / name
        folder.mkdir(parents=True)
        run(["tar", "-xJf", self._archive], folder, umask)
        source, = folder.iterdir()
        run(["./configure", *(f"--{key}={value}" for key, value in FOLDERS.items()),
             *(f"--with-{key}={value}" for key, value in OWN_FOLDERS.items()),
             "--with-bug-address=" + ABOUT[0].split()[-1],
             "--with-home-page=" + ABOUT[1].split()[-1]], source, umask, **environment)
        run(["make", "-j2", "all"], source, umask, **environment)
        tree = folder / "installed"
        run(["make", "install", f"DESTDIR={tree}"], source, umask, **environment)
        self._builds.append((source, tree))

    @property
    def archive(self):
        if self._why is not None:
            raise self._why
        return self._archive

    @property
    def built(self):
        """Both: [(source, tree)]."""
        if self._why is not None:
            raise self._why
        return self._builds


distribution = Distribution()


def files(tree):
    """{path: (mode, content)} of everything that is not a folder."""
    return {"/" + str(path.relative_to(tree)): (oct(stat.S_IMODE(path.lstat().st_mode)),
                                                path.read_bytes())
            for path in sorted(tree.rglob("*")) if not path.is_dir()}


def compare(t, one, other):
    """Without their contents in the report."""
    t.equal(sorted(one), sorted(other), "files")
    t.equal([f"{name}: {one[name][0]}, {other[name][0]}" for name in one if one[name] != other[name]],
            [], "files that are different, with their modes")


@test("make dist: the same bytes from its own content, elsewhere, with another umask and locale")
def archive(t):
    _, (source, _) = distribution.built
    run(["make", "dist"], source, 0o077, SOURCE_DATE_EPOCH=EPOCH, LC_ALL="C.UTF-8")
    again = source / distribution.archive.name
    t.equal(again.read_bytes() == distribution.archive.read_bytes(), True, "bytes are the same")
    listing = run(["tar", "-tvJf", again], source, TZ="UTC")
    t.equal([line for line in listing.splitlines()
             if not re.match(r"[d-]rw[x-]r-[x-]r-[x-] 0/0 .* 2023-11-14 22:13 ", line)], [],
            "entries with another mode, owner or time")
    t.equal([line for line in listing.splitlines()
             if re.search(r"\.(o|a|log|trs|pyc)$|/\.deps/|/pool_driver$", line)], [],
            "entries that a build has made")


@test("two builds give the same programs, with debug information, and the same installed tree")
def reproducible(t):
    (_, one), (_, other) = distribution.built
    compare(t, files(one), files(other))
    program = (one / "odd/superuser/kaproxy").read_bytes()
    t.check(b".debug_info" in program, "there is no debug information")
    t.check(str(distribution.folder).encode() not in program, "it contains the folder of its build")


@test("every directory variable is respected, and nothing is installed elsewhere")
def folders(t):
    (_, tree), _ = distribution.built
    found = files(tree)
    expected = {name for name in INSTALLED if "*" not in name}
    examples = {name for name in found if name.startswith("/odd/documents/examples/")}
    t.equal(sorted(set(found) - examples), sorted(expected), "files")
    t.check(examples, "there are no examples")
    for name, (_, content) in found.items():
        t.check(b"/usr/local" not in content or "/pages/" in name or name in examples,
                f"{name} contains a default folder")
    for program in "kaproxy", "kaproxyctl":
        t.check(f"/odd/superuser/{program}".encode() in found["/odd/units/kaproxy.service"][1],
                f"the unit does not run {program}")
    t.check(b"/odd/settings/kaproxy/kaproxy.ini" in found["/odd/superuser/kaproxy"][1],
            "the default file is elsewhere")


@test("each program has a page and completions, and says where to report bugs")
def pages(t):
    (_, tree), _ = distribution.built
    programs = sorted(path.name for path in (tree / "odd/superuser").iterdir())
    t.equal(programs, ["kaproxy", "kaproxyctl"], "programs")
    for name in programs:
        for path in (f"pages/man8/{name}.8", f"data/zsh/site-functions/_{name}",
                     f"data/bash-completion/completions/{name}.bash"):
            t.check((tree / "odd" / path).exists(), f"there is no {path}")
        for option in "-h", "-V":
            lines = run([tree / "odd/superuser" / name, option], tree).splitlines()
            t.equal(lines[-2:], ABOUT, f"{name} {option}: the last lines")


@test("make install keeps an existing file, and make uninstall leaves none of its own")
def uninstall(t):
    source, _ = distribution.built[0]
    tree = source.parent / "again"
    ini = tree / "odd/settings/kaproxy/kaproxy.ini"
    install = ["make", "install", f"DESTDIR={tree}"]
    remove = ["make", "uninstall", f"DESTDIR={tree}"]
    run(install, source)
    run(remove, source)
    t.equal(sorted(files(tree)), [], "files after it was installed and uninstalled")
    run(install, source)
    ini.write_text("; mine\n")
    t.check("is kept" in run(install, source), "the existing file was not mentioned")
    t.equal(ini.read_text(), "; mine\n", "the file after make install")
    run(remove, source)
    t.equal(sorted(files(tree)), ["/odd/settings/kaproxy/kaproxy.ini"], "files that are left")
    old = tree / "odd/settings/kaproxy.ini"
    ini.rename(old)
    t.check("move it" in run(install, source), "the old file was not mentioned")
    t.check(not ini.exists(), "the old file was shadowed by the sample")
    run(remove, source)
    t.equal(sorted(files(tree)), ["/odd/settings/kaproxy.ini"], "files that are left")


if __name__ == "__main__":
    try:
        distribution.make()
        main()
    finally:
        distribution.close()
