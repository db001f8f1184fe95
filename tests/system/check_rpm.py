#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: contrib/rpm/kaproxy.spec builds from the archive of make dist, twice the same;
rpmlint finds nothing; the package has what make install installs; in a booted system it is installed,
upgraded by a handover without a failed client, and erased.

rpmbuild is Debian's, which has neither systemd's macros nor a database of installed packages: MACROS
replaces the former, and dependencies are not checked."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, LONG, Skip, main, test
from kaptest.machine import BUILD
from kaptest.peers import need
from kaptest.service import UNIT, Clients, ask, main_pid, scene

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SPEC = SOURCE / "contrib/rpm/kaproxy.spec"
CONFIGURATION = SOURCE / "contrib/rpm/rpmlint.toml"
SYSUSERS = SOURCE / "contrib/systemd/kaproxy.sysusers"
BUILD_MAX = 3600 if LONG else 900  # seconds

# As Fedora has them, as far as the spec needs them; programs are stripped as by find-debuginfo.
# brp-compress is written for bash, and for sh here.
MACROS = r"""
%_unitdir %{_prefix}/lib/systemd/system
%_sysusersdir %{_prefix}/lib/sysusers.d
%_tmpfilesdir %{_prefix}/lib/tmpfiles.d
%systemd_post() if [ $1 -eq 1 ]; then systemctl --no-reload preset %{?*} || :; fi
%systemd_preun() if [ $1 -eq 0 ]; then systemctl --no-reload disable --now %{?*} || :; fi
%systemd_postun() if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
%_docdir_fmt %%{NAME}
%source_date_epoch_from_changelog 1
%clamp_mtime_to_source_date_epoch 1
%use_source_date_epoch_as_buildtime 1
%_buildhost localhost
%_build_id_links none
%__os_install_post bash /usr/lib/rpm/brp-compress\
%{__strip} %{buildroot}%{_sbindir}/*\
%{nil}
"""

# What %check runs here; make check-long runs all.
CHECKED = "$$(UNIT_TESTS) $$(CHECKS)"

# What the spec adds to make install, and what is not owned by root.
ADDED = {"/etc/logrotate.d/kaproxy", "/usr/share/licenses/kaproxy/COPYING",
         *(f"/usr/share/doc/kaproxy/{name}" for name in ("BENCHMARKS", "NEWS", "README", "SECURITY"))}
FOLDERS = {
    "/etc/kaproxy": "drwxr-xr-x root root", "/run/kaproxy": "drwx--x--x kaproxy kaproxy",
    "/usr/share/doc/kaproxy": "drwxr-xr-x root root",
    "/usr/share/doc/kaproxy/examples": "drwxr-xr-x root root",
    "/usr/share/doc/kaproxy/examples/grafana": "drwxr-xr-x root root",
    "/usr/share/doc/kaproxy/examples/kubernetes": "drwxr-xr-x root root",
    "/usr/share/doc/kaproxy/examples/prometheus": "drwxr-xr-x root root",
    "/usr/share/licenses/kaproxy": "drwxr-xr-x root root",
    "/var/log/kaproxy": "drwxr-x--- kaproxy kaproxy"}


def output(*command, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          **options)
    if done.returncode != 0:
        raise Failure(f"{command[0]} ended with status {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout


class Packages:
    """Those that rpmbuild makes, once."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kaproxy-rpm-"))
        self.folder.chmod(0o755)  # %check runs the program as other users too
        self.macros = self.folder / "macros"
        self.macros.write_text(MACROS)
        self._why, self._built = None, {}

    def build(self):
        """first; second: the same again; next: of a higher release."""
        try:
            self.archive = self._archive()
            self._built["first"] = self._rpmbuild("first", checks=True, CCACHE_DISABLE="1")
            self._built["second"] = self._rpmbuild("second", CCACHE_DISABLE="1", TZ="Asia/Kathmandu",
                                                   LC_ALL="C.UTF-8", USER="somebody")
            self._built["next"] = self._rpmbuild("next", "-D", "dist .2")
        except (Skip, Failure) as why:
            self._why = why

    def __getattr__(self, name):
        """A build, as {"binary": file, "source": file, "log": text}."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._built:
            raise self._why
        return self._built[name]

    def _archive(self):
        need("rpmbuild")
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        output("make", "-C", BUILD, "dist", env=environment)
        version = re.search(r"^AC_INIT\(\[kaproxy\], \[(.*?)\]", (SOURCE / "configure.ac").read_text(),
                            flags=re.M)[1]
        return BUILD / f"kaproxy-{version}.tar.xz"

    def _rpmbuild(self, name, *more, checks=False, **variables):
        """In a folder of its own."""
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("MFLAGS", "MAKELEVEL", "KAPROXY", "builddir", "srcdir")}
        environment["MAKEFLAGS"] = "" if LONG else "TESTS=" + CHECKED.replace(" ", "\\ ")
        log = output("rpmbuild", "-ta", "--nodeps", *([] if checks else ["--nocheck"]), "--load",
                     self.macros, "-D", f"_topdir {self.folder}/{name}", *more, self.archive,
                     env={**environment, **variables}, timeout=BUILD_MAX)
        files = {}
        for kind, pattern in ("binary", "RPMS/*/*.rpm"), ("source", "SRPMS/*.rpm"):
            found = list((self.folder / name).glob(pattern))
            if len(found) != 1:
                raise Failure(f"rpmbuild wrote {found}")
            files[kind] = found[0]
        return {**files, "log": log}

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


packages = Packages()


def query(package, form):
    return output("rpm", "-qp", "--qf", form, package).splitlines()


def scriptlets():
    """{name: text}"""
    parts = re.split(r"^(\w+) scriptlet \(using /bin/sh\):\n",
                     output("rpm", "-qp", "--scripts", packages.first["binary"]), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


@test("rpmbuild -ta, with %check")
def build(t):
    summary = re.findall(r"^# (TOTAL|FAIL|ERROR): +(\d+)$", packages.first["log"], flags=re.M)
    counts = {name: int(number) for name, number in summary}
    t.equal((counts.pop("FAIL"), counts.pop("ERROR")), (0, 0), "tests that failed in %check")
    t.at_least(counts["TOTAL"], 1000, "tests in %check")
    print("#", *re.findall(r"^# (?:TOTAL|PASS|SKIP): +\d+$", packages.first["log"], flags=re.M))


@test("rpmlint: no error, no warning, and no filter too many")
def rpmlint(t):
    program = need("rpmlint")
    files = SPEC, packages.first["source"], packages.first["binary"]
    said = output(program, "-c", CONFIGURATION, *files)
    t.check(re.search(r"2 packages and 1 specfiles checked; 0 errors, 0 warnings", said), said)
    filters = re.findall(r"^    '(.*)',$", CONFIGURATION.read_text(), flags=re.M)
    t.at_least(len(filters), 5, "filters")
    bare = subprocess.run([program, *files], stdout=subprocess.PIPE, text=True, check=False).stdout
    t.equal([one for one in filters if not re.search(one, bare, flags=re.M)], [], "filters of nothing")


@test("contents: what make install installs and the spec adds; owners, modes, configuration files")
def contents(t):
    staged = t.folder / "staged"
    environment = {**os.environ, "MAKEFLAGS": ""}
    output("make", "-C", BUILD, "install", f"DESTDIR={staged}", "prefix=/usr", "exec_prefix=/usr",
           "sysconfdir=/etc", "localstatedir=/var", "systemdsystemunitdir=/usr/lib/systemd/system",
           "sysusersdir=/usr/lib/sysusers.d", "tmpfilesdir=/usr/lib/tmpfiles.d", env=environment)
    installed = {"/" + str(path.relative_to(staged)) for path in staged.rglob("*")
                 if not path.is_dir()}
    installed = {f"{name}.gz" if "/share/man/" in name else name for name in installed}
    t.at_least(len(installed), 20, "files of make install")
    rows = [line.split() for line in query(
        packages.first["binary"],
        "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]")]
    kept = {row[0]: " ".join(row[1:4]) for row in rows if row[1].startswith("d")}
    t.equal(kept, FOLDERS, "folders")
    found = {row[0]: row for row in rows if not row[1].startswith("d")}
    t.equal(sorted(set(found) - installed - ADDED), [], "files that nothing installs")
    t.equal(sorted((installed | ADDED) - set(found)), [], "files that are missing")
    for name, row in found.items():
        mode = "-rwxr-xr-x" if "/sbin/" in name else "-rw-r--r--"
        t.equal(row[1:4], [mode, "root", "root"], f"mode and owner of {name}")
    flagged = {name: row[4] for name, row in found.items() if len(row) > 4 and row[4] != "d"}
    t.equal(flagged, {"/etc/kaproxy/kaproxy.ini": "cn", "/etc/logrotate.d/kaproxy": "cn",
                      "/usr/share/licenses/kaproxy/COPYING": "l"}, "flags")


@test("each library that configure checks for is required to build, in the same version")
def requirements(t):
    text = (SOURCE / "configure.ac").read_text()
    wanted = set(re.findall(r"KAP_REQUIRE\(\[\w+\], \[(.*?)\]", text))
    wanted |= set(re.findall(r"PKG_CHECK_MODULES\(\[(?:SYSTEMD|CMOCKA)\], \[(.*?)\]", text))
    t.at_least(len(wanted), 8, "libraries")
    listed = output("rpmspec", "-q", "--buildrequires", "--load", packages.macros, SPEC).splitlines()
    found = {f"{m[1]}{m[2]}" for line in listed if (m := re.fullmatch(r"pkgconfig\((.*?)\)(.*)", line))}
    t.equal(found, wanted, "what is required, with what configure checks for")


@test("scriptlets: a shell understands them, the user is that of sysusers.d, nothing is restarted")
def scripts(t):
    found = scriptlets()
    t.equal(set(found), {"preinstall", "postinstall", "preuninstall", "postuninstall", "posttrans"},
            "scriptlets")
    for name, text in found.items():
        for shell in "dash", "bash":
            output(need(shell), "-n", "-c", text)
        t.check(not re.search(r"\b(re)?start\b", re.sub(r"^ *#.*", "", text, flags=re.M)),
                f"{name} starts something: {text}")
    user = [line for line in SYSUSERS.read_text().splitlines() if not line.startswith("#")]
    t.check("\n".join(["<<'END' || :", *user, "END"]) in found["preinstall"], found["preinstall"])
    t.check("preset kaproxy.service" in found["postinstall"], found["postinstall"])
    for words in "disable --now kaproxy.service", "disable kaproxy@.service", "stop 'kaproxy@*.service'":
        t.check(words in found["preuninstall"], found["preuninstall"])


@test("where rpm makes users itself, the package does not")
def users(t):
    for system, makes in (("fedora 41", True), ("fedora 42", False), ("rhel 9", True),
                          ("rhel 10", False)):
        text = output("rpmspec", "-P", "--load", packages.macros, "-D", system, SPEC)
        t.equal("systemd-sysusers" in text, makes, f"systemd-sysusers in the scriptlets, {system}")


@contextlib.contextmanager
def unpacked(t, package):
    folder = pathlib.Path(tempfile.mkdtemp(dir=t.folder))
    output("sh", "-c", 'rpm2cpio "$1" | cpio -id --quiet', "sh", package, cwd=folder)
    yield folder


@test("the programs run, and have the version of the package")
def programs(t):
    version = query(packages.first["binary"], "%{VERSION}\n")[0]
    with unpacked(t, packages.first["binary"]) as folder:
        for name in "kaproxy", "kaproxyctl":
            said = output(folder / "usr/sbin" / name, "-V")
            t.check(re.match(rf"{name} {re.escape(version)}\b", said), f"{name} -V: {said!r}")
        unit = (folder / "usr/lib/systemd/system/kaproxy.service").read_text()
        t.check("\nExecStart=/usr/sbin/kaproxy\n" in unit, unit)


def described(package):
    """The package's header, but for digests of itself and of the source package, which has the time
    when rpmbuild -ta unpacked the spec."""
    tags = "Sigmd5|Sha1header|Sha256header|Sourcepkgid"
    return re.sub(rf'<rpmTag name="(?:{tags})">.*?</rpmTag>', "", output("rpm", "-qp", "--xml", package),
                  flags=re.S)


@test("a second build, in another folder, at another time and by another user, is the same")
def twice(t):
    for kind in "binary", "source":
        files = packages.first[kind], packages.second[kind]
        with unpacked(t, files[0]) as one, unpacked(t, files[1]) as other:
            output("diff", "-r", one, other)
    t.equal(*map(described, (packages.first["binary"], packages.second["binary"])),
            "header of the second package, with that of the first")


def put(machine, package, name):
    shutil.copy(package, f"/proc/{machine.leader}/root/root/{name}.rpm")


def without_kaproxy(machine):
    """What make install has put there is removed, and so is the user."""
    machine.must("sh", "-c", "rm -rf /usr/local/sbin/kaproxy* /usr/local/lib/systemd/system/kaproxy* "
                 "/usr/local/lib/sysusers.d /usr/local/lib/tmpfiles.d /usr/local/etc/kaproxy "
                 "/run/kaproxy /var/log/kaproxy; userdel kaproxy")
    machine.must("systemctl", "daemon-reload")


def rpm(machine, *words):
    """The package's dependencies are there, but from packages that rpm does not know."""
    return machine.must("rpm", "--force-debian", "--nodeps", *words)


def program_of(machine):
    """(device and inode of what runs, of what is installed)"""
    return tuple(machine.must("stat", "-L", "-c", "%d:%i", path).strip()
                 for path in (f"/proc/{main_pid(machine)}/exe", "/usr/sbin/kaproxy"))


@test("in a booted system: installed, configured, upgraded under load, erased")
def installed(t):
    machine = scene.machine()
    without_kaproxy(machine)
    put(machine, packages.first["binary"], "first")
    put(machine, packages.next["binary"], "next")
    rpm(machine, "-i", "/root/first.rpm")
    t.equal(machine.run("systemctl", "is-active", UNIT).output, "inactive\n", "state when installed")
    t.equal(machine.must("stat", "-c", "%U %G %a", "/var/log/kaproxy"), "kaproxy kaproxy 750\n",
            "/var/log/kaproxy")
    machine.write("/etc/kaproxy/kaproxy.ini",
                  f"[listener example]\nlisten = 127.0.0.1:8080\nupstream = {scene.upstream}\n")
    machine.write("/etc/kaproxy/a.ini",
                  f"[listener a]\nlisten = 127.0.0.1:8081\nupstream = {scene.upstream}\n")
    machine.must("systemctl", "enable", "--now", "kaproxy", "kaproxy@a")
    t.equal(ask(machine), "200", "response")

    before = main_pid(machine)
    clients = Clients(machine)
    rpm(machine, "-U", "/root/next.rpm")
    clients.finish(t)
    t.check(main_pid(machine) != before, "the process before the upgrade still serves")
    t.equal(*program_of(machine), "the program that runs, with the one that is installed")
    t.check("upstream =" in machine.must("cat", "/etc/kaproxy/kaproxy.ini"), "the configuration")

    rpm(machine, "-e", "kaproxy")
    t.equal(machine.run("systemctl", "is-active", UNIT, "kaproxy@a").output, "inactive\ninactive\n",
            "states when erased")
    t.equal(machine.must("find", "/etc/systemd/system", "-name", "kaproxy*"), "", "links of units")
    t.check(machine.run("test", "-e", "/usr/sbin/kaproxy").status != 0, "the program is still there")


def end_late():
    """The tests may take three minutes, without what is made once."""
    timer = threading.Timer(180, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    try:
        packages.build()
        scene.boot()
        end_late()
        main()
    finally:
        scene.close()
        packages.close()
