# SPDX-License-Identifier: ISC
"""The files of contrib/examples, run unchanged except for what depends on the place: addresses,
paths and groups."""

import os
import subprocess

from . import ctl
from .kaproxy import PROGRAM, TESTS, Kaproxy
from .tap import Failure

FOLDER = TESTS.parent / "contrib/examples"

# The keys whose values depend on the place.
PLACES = {"access_log", "listen", "upstream", "socket_group", "tls_ca_file", "tls_cert_file",
          "tls_key_file"}


def adapt(text, places):
    """The text with the words of `places` replaced, only in the values of PLACES. All of those must
    be replaced, and everything else stays unchanged."""
    used, lines = set(), []
    for line in text.splitlines():
        key, _, value = line.partition(" = ")
        if key in PLACES:
            words = value.split(" ")
            used.update(words)
            if not set(words) <= set(places):
                raise Failure(f"the test has no place for {line!r}")
            line = f"{key} = {' '.join(str(places[word]) for word in words)}"
        lines.append(line)
    if used != set(places):
        raise Failure(f"the example does not have {sorted(set(places) - used)}")
    return "\n".join(lines) + "\n"


class Example(Kaproxy):
    """kaproxy with an example, checked by -t first. It has a RUNTIME_DIRECTORY, as by systemd, and
    in it the socket for kaproxyctl. `trust`: a file with the certificates that replace the system's
    store.

    places: {word in the example: its replacement}; {port} becomes a free port."""

    def __init__(self, t, name, places, trust=None):
        super().__init__(t)
        self.text = adapt((FOLDER / f"{name}.ini").read_text(), places)
        self.runtime = t.folder / "runtime"
        self.runtime.mkdir()
        environment = [f"RUNTIME_DIRECTORY={self.runtime}"]
        if trust is not None:
            environment.append(f"SSL_CERT_FILE={trust}")
        self.wrap = ["env", *environment]
        self._check_text()
        self.start()

    def _text(self):
        return self.text

    def _check_text(self):
        """kaproxy -t, in the environment of the run, has no mistake and no warning to report."""
        self._write_ini()
        done = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)
        if (done.returncode, done.stdout + done.stderr) != (0, f"{self.file}: ok\n"):
            raise Failure(f"{os.path.basename(PROGRAM)} -t: {done.stdout}{done.stderr}")

    def ctl(self, *words):
        """kaproxyctl's output."""
        status, output, errors = ctl.run(*words, KAPROXY_ADMIN=str(self.runtime / "admin.sock"))
        if status != 0:
            raise Failure(f"kaproxyctl {words}: {output}{errors}")
        return output
