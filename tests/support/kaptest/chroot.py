# SPDX-License-Identifier: ISC
"""Trees of Debian made by debootstrap, kept in the build folder, and commands in them."""

import os
import pathlib
import signal
import subprocess

from .machine import PLACE, bootstrap, debian_suite
from .peers import need
from .tap import Failure, Skip

MAKE_MAX = 900  # seconds
LINES_SHOWN = 40  # of the output of a failed command

APT = ["apt-get", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]


def allow(seconds):
    """The running test may take that long."""
    signal.alarm(seconds)


def run_logged(command, log, limit, **options):
    """Its output goes to a file; Failure with its end if the command fails."""
    with open(log, "wb") as output:
        try:
            status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output,
                                    stderr=subprocess.STDOUT, timeout=limit, check=False,
                                    **options).returncode
        except subprocess.TimeoutExpired:
            status = f"none after {limit} s"
    if status != 0:
        lines = pathlib.Path(log).read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        raise Failure(f"{' '.join(map(str, command))}: exit status {status} ({log}):\n" +
                      "\n".join(f"#   {line}" for line in lines))


class Tree:
    """Made once, or again when something else is needed: `wanted` is any text that identifies
    it."""

    def __init__(self, name, wanted, *, variant, include=()):
        if os.geteuid() != 0:
            raise Skip("only root can make a tree, and run commands in it")
        self.nspawn = need("systemd-nspawn")
        self.path = PLACE / name
        self.log = PLACE / f"{name}.log"
        self._stamp = PLACE / f"{name}.packages"
        self._wanted = f"{debian_suite()} {variant} {' '.join(include)}\n{wanted}"
        PLACE.mkdir(parents=True, exist_ok=True)
        self.is_new = not self._stamp.exists() or self._stamp.read_text() != self._wanted
        if self.is_new:
            self._stamp.unlink(missing_ok=True)
            more = ["--include=" + ",".join(include)] if include else []
            bootstrap(self.path, debian_suite(), self.log, MAKE_MAX, f"--variant={variant}", *more)

    def is_made(self):
        """Everything that is needed is in it."""
        self._stamp.write_text(self._wanted)
        self.is_new = False

    def run(self, *words, user="root", network=False, environment=None, limit=MAKE_MAX,
            forgotten=False):
        """It has its own network, with nothing but loopback, unless it is to have ours."""
        net = ["--resolv-conf=copy-host"] if network else ["--private-network", "--resolv-conf=off"]
        if forgotten:  # what it changes; and what it leaves running is reaped
            net += ["--volatile=overlay", "--as-pid2"]
        variables = {"DEBIAN_FRONTEND": "noninteractive", **(environment or {})}
        run_logged([self.nspawn, "-q", "-D", self.path, "--register=no", "--keep-unit",
                    "--link-journal=no", "--console=pipe", f"--user={user}", *net,
                    *[f"--setenv={name}={value}" for name, value in variables.items()], *words],
                   self.log, limit)
        return self.log.read_text(errors="replace")

    def fetch(self, *words):
        """apt-get with the network; if that does not work there is none."""
        try:
            for command in ["update"], words:
                self.run(*APT, *command, network=True)
        except Failure as why:
            raise Skip(f"apt-get could not fetch packages (is there a network?): {self.log}"
                       ) from why
