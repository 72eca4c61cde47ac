"""The sections `server` and `admin`: who may connect, under which bounds."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.addresses import HostName, ListenAddress, Origin
from gateway.config.metadata import ResourceMetadata
from gateway.config.patterns import TlsVersion
from gateway.config.quantities import Duration, DurationOrZero, OneRate, Size
from gateway.config.references import FilePath, Secret
from gateway.config.section import Section, required, setting


class ServerTls(Section):
    """How clients are met: the gateway's certificate, and what is asked of theirs."""

    certificate: FilePath = required("PEM file: the gateway's certificate, then its intermediates.")
    private_key: FilePath = required("PEM file: the unencrypted private key of the certificate.")
    client_ca: FilePath | None = setting(
        None,
        "PEM file: authorities whose client certificates are accepted; with `identity.trust_domains`, those "
        "without a SPIFFE ID. Needed if client certificates are asked for and there are no trust domains.",
    )
    client_certificate: Literal["required", "optional", "none"] = setting(
        "required", "Whether the handshake demands a client certificate, asks for one, or does not ask."
    )
    revocation_list: FilePath | None = setting(
        None,
        "PEM file: revocation lists, one for each authority of a path, intermediates included (which must "
        "then stand in `client_ca`). An expired list refuses everybody.",
    )
    revocation_grace: DurationOrZero = setting(
        "0s", "How long a list still counts after its nextUpdate; never longer than its own period."
    )
    minimum_version: TlsVersion = setting("1.2", "Oldest TLS version that is spoken.")


class Timeouts(Section):
    """Deadlines of client connections."""

    handshake: Duration = setting("5s", "From the accepted connection to the end of the TLS handshake.")
    head: Duration = setting("10s", "From the first byte of a request to the end of its head.")
    keep_alive: Duration = setting(
        "75s", "Silence between two requests after which the connection is closed."
    )
    write: Duration = setting("30s", "Time in which a client must take what is waiting for it.")


class ServerBounds(Section):
    """Bounds over all routes."""

    head: Size = setting("16KiB", "Largest head of a request: request line and headers together.")
    headers: Annotated[int, Field(ge=8, le=1000)] = setting(64, "Most header fields of a request.")
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = setting(10_000, "Most client connections.")
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        1000, "Most client connections of one address."
    )
    body_memory: Size = setting("256MiB", "Most memory for request bodies, over all connections.")


class Flood(Section):
    """How much may come from one source before anybody knows who it is; the rest is 429, or reset."""

    address: OneRate | None = setting(
        None,
        "Most connections and requests of one address (IPv6: of one /64), `500/second`; as many may come at "
        "once. Mind proxies: all that comes through one has its address.",
    )
    certificate: OneRate | None = setting(None, "Most requests under one client certificate.")
    failures: OneRate | None = setting(
        None,
        "Most answers 401 and malformed requests of one certificate, or of one address without one, "
        "`60/minute`; then everything of that source is refused for a while.",
    )


class Server(Section):
    """The listener for clients."""

    listen: ListenAddress = required("Address and port, or `unix:/path`.")
    tls: ServerTls | None = setting(
        None, "TLS towards clients. May be left out on a loopback or unix address only."
    )
    origins: tuple[Origin, ...] = setting(
        (),
        "Origins by which clients reach this gateway, `https://gateway.example.org`; the first names it as "
        "a resource (RFC 9728). Proofs of possession are checked against them, never against the request.",
    )
    metadata: ResourceMetadata = setting({}, "What the gateway tells everybody of itself (RFC 9728).")
    hosts: tuple[HostName, ...] = setting((), "Host names that requests may be for; none: any.")
    timeouts: Timeouts = setting({}, "Deadlines of client connections.")
    bounds: ServerBounds = setting({}, "Bounds over all routes.")
    flood: Flood = setting({}, "Bounds on what comes from one source.")
    watch: Duration = setting(
        "5s",
        "How often certificates, keys, authorities and revocation lists are looked at, those of backends "
        "included. What changed is used without a restart, and open connections are checked against it.",
    )
    drain: DurationOrZero = setting("30s", "How long running requests may go on after a stop was asked for.")


class AdminTls(Section):
    """TLS of the operators' listener."""

    certificate: FilePath = required("PEM file: certificate, then its intermediates.")
    private_key: FilePath = required("PEM file: the unencrypted private key of the certificate.")


class Admin(Section):
    """The listener for operators: health, metrics, status, public keys."""

    listen: ListenAddress = required("Address and port, or `unix:/path`.")
    token: Secret | None = setting(
        None, "Bearer token that operators must show. May be left out on a loopback or unix address only."
    )
    tls: AdminTls | None = setting(None, "TLS towards operators.")
