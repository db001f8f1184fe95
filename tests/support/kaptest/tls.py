# SPDX-License-Identifier: ISC
"""TLS for scripted upstreams, and kaproxy with a listener for it."""

import socket
import ssl
import threading

from .channel import Channel
from .http import HttpUpstream
from .tap import Failure, WAIT_MAX, wait_until
from .tls_ca import authority
from .upstream import ScriptedUpstream

NAME = "upstream.test"


def upstream_context(certificate=None, *, version=None, clients=None, no_tickets=False):
    """What an upstream's connections share. `version` is the only one accepted; `clients` the
    certificate that must have signed those of the clients. `no_tickets`: none is resumed."""
    certificate = certificate or authority().valid
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if no_tickets:
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.alone)
    return context


class TlsChannel(Channel):
    """A channel over TLS. What ends it is "eof" for close_notify, "cut" for an EOF without it."""

    def receive(self, size=65536):
        try:
            return super().receive(size)
        except ssl.SSLEOFError:
            return b""

    def read_end(self):
        data = b""
        while True:
            try:
                more = super().receive()
            except ssl.SSLEOFError:
                return data, "cut"
            except ConnectionResetError:
                return data, "reset"
            if not more:
                return data, "eof"
            data += more

    def is_silent(self, seconds):
        """TLS cannot peek: what arrives is kept for receive."""
        if self._pending:
            return False
        self.socket.settimeout(seconds)
        try:
            self._pending = self.socket.recv(65536)
            return False
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(WAIT_MAX)

    def send_close_notify(self):
        """Without waiting for the other side's, and without FIN."""
        self.socket.settimeout(0)
        try:
            self.socket.unwrap()
        except (OSError, ValueError):
            pass  # sent, and the other side's has not arrived; or too late for it
        finally:
            if self.socket.fileno() >= 0:
                self.socket.settimeout(WAIT_MAX)

    def fin(self):
        """Ends our direction in order."""
        self.send_close_notify()
        self.cut()

    def cut(self):
        """Ends our direction without close_notify."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def close(self):
        """In order, if it was not ended yet."""
        if self.socket.fileno() >= 0:
            self.send_close_notify()
        self.socket.close()

    def drop(self):
        """Closes without close_notify."""
        self.socket.close()


class Records:
    """An upstream's TLS on a plain channel, for scripts that choose what is on the wire. With
    `step`, what is sent here is split into pieces of that size."""

    def __init__(self, connection, context, step=1 << 20):
        self.connection = connection
        self.step = step
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._complete(self.tls.do_handshake)

    def encrypt(self, data):
        """The bytes for the wire."""
        self.tls.write(data)
        return self.outgoing.read()

    def receive(self):
        """b"" at the end."""
        return self._complete(self.tls.read, 65536)

    def _complete(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                while piece := self.outgoing.read(self.step):
                    self.connection.send(piece)
            data = self.connection.receive()
            if not data:
                return b""
            self.incoming.write(data)


class Handshake:
    """What an upstream learnt about one."""

    def __init__(self, sock, name):
        self.server_name = name
        self.resumed = sock.session_reused
        self.version = sock.version()
        self.alpn = sock.selected_alpn_protocol()
        self.client = sock.getpeercert() or {}


class _Secured:
    """Makes each connection use TLS before its script runs. `handshakes` were finished, `refusals`
    are the errors of those that were not."""

    def __init__(self, *arguments, context=None, **options):
        self.context = context or upstream_context()
        self.context.sni_callback = self._on_name
        self.names = threading.local()
        self.handshakes = []
        self.refusals = []
        super().__init__(*arguments, **options)

    def _on_name(self, _sock, name, _context):
        self.names.name = name

    def secure(self, connection):
        """The TlsChannel that replaces the connection."""
        self.names.name = None
        try:
            sock = self.context.wrap_socket(connection.socket, server_side=True,
                                            do_handshake_on_connect=False,
                                            suppress_ragged_eofs=False)
            connection.socket = sock
            self.shake_hands(connection)
        except OSError as error:
            self.refusals.append(error)
            raise
        self.handshakes.append(Handshake(sock, self.names.name))
        channel = TlsChannel(sock, connection.number)
        self.connections[connection.number - 1] = channel
        return channel

    def shake_hands(self, connection):
        connection.socket.do_handshake()

    def wait_handshakes(self, count):
        wait_until(lambda: len(self.handshakes) >= count, f"handshake {count} at the upstream")
        return self.handshakes[count - 1]

    def wait_refusals(self, count):
        wait_until(lambda: len(self.refusals) >= count, f"failure {count} at the upstream")
        return str(self.refusals[count - 1])


class TlsUpstream(_Secured, ScriptedUpstream):
    """script(channel) runs after the handshake."""

    def __init__(self, script, **options):
        super().__init__(lambda connection: self._serve(script, connection), **options)
        self.endpoint = f"tls://127.0.0.1:{self.port}"

    def _serve(self, script, connection):
        channel = self.secure(connection)
        try:
            script(channel)
        finally:
            if not self.keep:
                channel.close()


class HttpsUpstream(_Secured, HttpUpstream):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.endpoint = f"https://127.0.0.1:{self.port}"

    def _serve(self, connection):
        channel = self.secure(connection)
        try:
            super()._serve(channel)
        finally:
            if not self.keep:
                channel.close()


def settings(**more):
    """A listener's keys to trust the test's CA, and more."""
    return {"tls_ca_file": authority().root.alone, "tls_server_name": NAME, **more}


def start(t, upstream, *, listener=None, reuse=None, **options):
    """A kaproxy with a listener for this upstream, which may be any kind of peer, or an endpoint.
    Opaque ones are reused unless `reuse` says otherwise."""
    endpoint = getattr(upstream, "endpoint", upstream)
    if reuse is None and not endpoint.startswith("https:"):
        reuse = "quiet"
    return t.kaproxy(endpoint, reuse=reuse, listener=settings(**(listener or {})), **options)


def handshakes(kaproxy, listener="main"):
    """(full, resumed, failed) so far, as kaproxy counts them."""
    kaproxy.counters()
    line = kaproxy.wait_log(rf"stats upstream=\S+ tls={listener} ")[-1]
    counts = dict(word.split("=") for word in line.split() if word.startswith("tls_"))
    if set(counts) != {"tls_full", "tls_resumed", "tls_failed"}:
        raise Failure(f"handshakes are not counted in {line!r}")
    return tuple(int(counts[f"tls_{kind}"]) for kind in ("full", "resumed", "failed"))
