"""Talks to the admin listener of a running gateway, as its own configuration describes it.

The address, the token by reference and the certificate come from the file that the gateway runs with. Over
TLS the listener must show exactly that certificate (or, with a CA, one of that authority for that name)
before the token is sent.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from gateway.cli.failure import told
from gateway.config.addresses import Listen
from gateway.config.errors import ConfigurationError
from gateway.config.load import load
from gateway.credentials.clock import SystemClock
from gateway.credentials.secrets import SecretError, resolve_secret

if TYPE_CHECKING:
    import argparse

    from gateway.config.schema import Settings

TIMEOUT: Final = 10.0  # seconds
MAX_ANSWER: Final = 16 * 1024 * 1024
ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what listens everywhere listens here


@final
class Unreachable(Exception):
    """The gateway cannot be asked; the text is for the person at the terminal.

    Args:
        message: What is wrong.
        mend: How to mend it.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(told(message, mend))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which gateway is meant."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the YAML file that the gateway runs with"
    )
    parser.add_argument(
        "--admin",
        metavar="HOST:PORT",
        help="where its admin listener is, if not where the file says (another machine, port 0)",
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="authority of the admin listener's certificate; none: exactly the configured one is demanded",
    )


@final
class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket of the file system."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


@final
class AdminClient:
    """One gateway's admin API.

    Args:
        options: What `add_options` added.

    Raises:
        ConfigurationError: The file may not be run.
        Unreachable: It names no admin listener, or the token cannot be read.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        path: Path = options.config
        self.settings: Settings = load(path, SystemClock()).settings
        admin = self.settings.admin
        if admin is None:
            mend = "add `admin: {listen: 127.0.0.1:9443}`, and start the gateway again"
            raise Unreachable(f"{path} has no section `admin`: there is nobody to talk to", mend)
        self._listen = _address(admin.listen, options.admin)
        self._ca: Path | None = options.ca
        self._certificate = None if admin.tls is None else admin.tls.certificate
        self._token: str | None = None
        if admin.token is not None:
            try:
                self._token = resolve_secret(admin.token.text, path.parent.absolute())
            except SecretError as error:
                raise Unreachable(str(error), error.mend) from error

    @property
    def is_fleet(self) -> bool:
        """True if what this gateway is told reaches others."""
        return self.settings.state.url.scheme != "memory"

    def ask(self, method: str, path: str, body: object | None = None) -> tuple[int, dict[str, Any]]:
        """Ask once.

        Returns:
            Status, and the document that was answered.

        Raises:
            Unreachable: Nobody answers there, or not the gateway that the file describes.
        """
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.connect()
            self._prove(connection)
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            document = msgspec.json.decode(answer.read(MAX_ANSWER), type=dict[str, Any])
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            mend = "start it, or say where its admin listener is: `--admin HOST:PORT`"
            raise Unreachable(f"no gateway answers at {_name(self._listen)}: {why.lower()}", mend) from error
        finally:
            connection.close()
        return answer.status, document

    def _connection(self) -> http.client.HTTPConnection:
        listen = self._listen
        if listen.path is not None:
            return _UnixConnection(listen.path)
        if self._certificate is None:
            return http.client.HTTPConnection(listen.host, listen.port, timeout=TIMEOUT)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._ca is None:
            context.check_hostname = False  # its very certificate is demanded instead
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cafile=str(self._ca or self._certificate))
        return http.client.HTTPSConnection(listen.host, listen.port, timeout=TIMEOUT, context=context)

    def _prove(self, connection: http.client.HTTPConnection) -> None:
        """See that it is the gateway, before it gets the token."""
        if (
            not isinstance(connection.sock, ssl.SSLSocket)
            or self._ca is not None
            or self._certificate is None
        ):
            return
        text = self._certificate.read_text()
        first = text[: text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
        begin = first.index("-----BEGIN CERTIFICATE-----")
        if connection.sock.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(first[begin:]):
            raise Unreachable(
                f"what answers at {_name(self._listen)} does not show the configured certificate",
                "find out who answers; a gateway that shows another certificate is verified with `--ca FILE`",
            )


def open_client(options: argparse.Namespace) -> AdminClient | str:
    """Make the client, or say why not."""
    try:
        return AdminClient(options)
    except ConfigurationError as error:
        return str(error)
    except Unreachable as error:
        return str(error)


def _address(listen: Listen, override: str | None) -> Listen:
    if override is not None:
        if override.startswith("unix:"):
            return Listen("", 0, Path(override.removeprefix("unix:")))
        host, _, port = override.rpartition(":")
        if not host or not port.isdigit():
            mend = "write `127.0.0.1:9443` or `unix:/run/admin.sock`"
            raise Unreachable(f"`{override}` is no address", mend)
        return Listen(host.strip("[]"), int(port))
    if listen.path is None and listen.port == 0:
        mend = "give the real one with --admin; the log line `ready` has it"
        raise Unreachable("the file says port 0", mend)
    return Listen(ANYWHERE.get(listen.host, listen.host), listen.port, listen.path)


def _name(listen: Listen) -> str:
    return f"unix:{listen.path}" if listen.path is not None else f"{listen.host}:{listen.port}"
