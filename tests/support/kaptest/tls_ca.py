# SPDX-License-Identifier: ISC
"""A small CA, made with the openssl command when the first test needs it, and kept until the test
program ends."""

import atexit
import copy
import pathlib
import shutil
import subprocess
import tempfile
import time

from .peers import need
from .tap import Failure

LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
ISSUER = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
PLAUSIBLE = ("20200101000000Z", "20490101000000Z")  # an ASN.1 UTCTime ends with 2049

CA_CONF = """\
[ca]
default_ca = small
[small]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = anything
[anything]
commonName = supplied
[req]
distinguished_name = subject
[subject]
"""


def _openssl(*arguments):
    done = subprocess.run([need("openssl"), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"openssl {arguments[0]}: {done.stderr[-1000:]}")


class Certificate:
    """A certificate and its key. `alone` is the certificate, `file` has its chain as well, without
    the root: what an upstream sends. issuer None: signed with its own key."""

    def __init__(self, stem, issuer):
        self.issuer = issuer
        self.alone = stem.with_suffix(".crt")
        self.key = stem.with_suffix(".key")
        self.file = stem.with_suffix(".pem")

    def write_chain(self):
        chain, link = self.alone.read_text(), self.issuer
        while link is not None and link.issuer is not None:
            chain += link.alone.read_text()
            link = link.issuer
        self.file.write_text(chain)

    def without_chain(self):
        """The same, to be sent without its issuers."""
        bare = copy.copy(self)
        bare.file = self.alone
        return bare


class Authority:
    """Makes each certificate once; their names distinguish them."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kaptest-ca-"))
        self.folder.chmod(0o755)  # for upstreams that drop their privileges
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "index.txt").touch()
        self.configuration = self.folder / "ca.conf"
        self.configuration.write_text(CA_CONF.format(folder=self.folder))
        self.made = {}
        self.root = self._make("root", None, ISSUER)

    def _make(self, name, issuer, extensions, period=PLAUSIBLE):
        if name in self.made:
            return self.made[name]
        stem = self.folder / name.replace("*", "any").replace(" ", "-").replace(":", "-")
        made = Certificate(stem, issuer)
        request, extra = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extra.write_text(extensions)
        _openssl("req", "-new", "-config", self.configuration, "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-keyout", made.key, "-out", request,
                 "-subj", f"/CN={name}")
        signer = (["-selfsign", "-keyfile", made.key] if issuer is None
                  else ["-cert", issuer.alone, "-keyfile", issuer.key])
        _openssl("ca", "-batch", "-notext", "-config", self.configuration, *signer, "-in", request,
                 "-out", made.alone, "-extfile", extra, "-startdate", period[0], "-enddate",
                 period[1])
        made.key.chmod(0o644)
        made.write_chain()
        self.made[name] = made
        return made

    def leaf(self, name, *, names=("DNS:upstream.test", "IP:127.0.0.1"), issuer=None,
             period=PLAUSIBLE):
        """For an upstream or a client; `names` are its subjectAltName."""
        sans = f"subjectAltName={','.join(names)}\n" if names else ""
        return self._make(name, issuer or self.root, LEAF + sans, period)

    @property
    def valid(self):
        return self.leaf("valid")

    @property
    def expired(self):
        return self.leaf("expired", period=("20200101000000Z", "20210101000000Z"))

    def until(self, days):
        """Expires in this many days, and some hours."""
        end = time.gmtime(time.time() + days * 86400 + 6 * 3600)
        return self.leaf(f"until {days}", period=(PLAUSIBLE[0],
                                                  time.strftime("%Y%m%d%H%M%SZ", end)))

    @property
    def not_yet_valid(self):
        return self.leaf("not yet valid", period=("20480101000000Z", "20490101000000Z"))

    @property
    def self_signed(self):
        return self._make("self-signed", None, LEAF + "subjectAltName=DNS:upstream.test\n")

    @property
    def intermediate(self):
        return self._make("intermediate", self.root, ISSUER)

    @property
    def below_intermediate(self):
        return self.leaf("below intermediate", issuer=self.intermediate)

    @property
    def below_leaf(self):
        """Its issuer is a valid certificate, but not a CA's."""
        return self.leaf("below leaf", issuer=self.valid)

    @property
    def other_root(self):
        """Trusted by no client."""
        return self._make("other root", None, ISSUER)


_authority = None


def authority():
    """The one of this test program."""
    global _authority
    if _authority is None:
        _authority = Authority()
    return _authority
