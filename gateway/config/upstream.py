"""The sections `backends` and `state`: what the gateway itself connects to."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.addresses import Endpoint, HostName, Network, StateUrl, WebUrl
from gateway.config.opaque import ClientAuthentication
from gateway.config.patterns import SpiffeId, Text
from gateway.config.quantities import Duration
from gateway.config.references import FilePath, Secret
from gateway.config.section import Section, required, setting


class BackendTls(Section):
    """How the gateway and a backend prove themselves to each other."""

    ca: FilePath = required("PEM file: authorities that may have issued the backend's certificate.")
    certificate: FilePath | None = setting(
        None, "PEM file: the gateway's client certificate for this backend."
    )
    private_key: FilePath | None = setting(None, "PEM file: the private key of that certificate.")
    identity: SpiffeId | None = setting(None, "SPIFFE ID that the backend's certificate must have.")
    server_name: HostName | None = setting(
        None, "DNS name that the backend's certificate must have; none: the endpoint's host."
    )


class Exchange(Section):
    """A token of an authorization server for a backend (RFC 8693), in place of the gateway's assertion."""

    endpoint: WebUrl = required("The server's token endpoint.")
    server: Text = required("The server's issuer name: whom the gateway's own statements are for.")
    client_id: Text = required("The gateway's name at the server.")
    authentication: ClientAuthentication = required("How the gateway proves itself there.")
    audience: Text = required("The backend's name at the server.")
    scopes: tuple[Text, ...] = setting((), "Scopes that are asked for; none: as the server gives them.")
    subject: Literal["token", "assertion"] = setting(
        "token",
        "What stands for the caller: its own token, which goes to this server and to nobody else; or the "
        "gateway's assertion, for callers that have none.",
    )
    timeout: Duration = setting("3s", "Longest time of one exchange.")
    ca: FilePath | None = setting(None, "PEM file: authorities of the server; none: the system's.")
    networks: tuple[Network, ...] = setting(
        (), "Networks that the server must be in; none: public addresses."
    )


class Queue(Section):
    """Where requests wait while a backend serves as many as it may."""

    length: Annotated[int, Field(ge=0, le=100_000)] = setting(
        128, "Most requests that wait; beyond, those of the lowest priority are refused. 0: none waits."
    )
    time: Duration = setting(
        "5s", "Longest wait; who would wait for longer is refused at once. Clients may be less patient."
    )


class Backend(Section):
    """A named group of equal endpoints."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1)] = required(
        "`https://host:port`, `unix:/path.sock`, or on this machine alone `http://host:port`."
    )
    tls: BackendTls | None = setting(None, "How `https://` endpoints are verified.")
    networks: tuple[Network, ...] | None = setting(
        None,
        "Networks that endpoints must lie in, checked at each connect; none: wherever their names lead.",
    )
    connections: Annotated[int, Field(ge=1, le=100_000)] = setting(256, "Most connections to one endpoint.")
    requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = setting(
        None,
        "Most requests that it is sent at the same time, over all endpoints: what it serves well. None: "
        "as many as there may be connections.",
    )
    queue: Queue = setting({}, "What becomes of requests beyond.")
    keep_alive: Duration = setting(
        "4s", "How long an idle connection is kept; shorter than the backend keeps it."
    )
    audience: Text | None = setting(
        None, "Claim `aud` of the gateway's assertions for this backend; none: the backend's name."
    )
    credential: Secret | None = setting(None, "Key that the backend asks for, sent as a bearer token.")
    exchange: Exchange | None = setting(
        None, "A token for each caller from an authorization server, in place of the gateway's assertion."
    )


class StateTls(Section):
    """TLS towards Redis, for `rediss://`."""

    ca: FilePath = required("PEM file: authorities that may have issued the server's certificate.")
    certificate: FilePath | None = setting(None, "PEM file: the gateway's client certificate.")
    private_key: FilePath | None = setting(None, "PEM file: the private key of that certificate.")


class State(Section):
    """Where limits and counters live."""

    url: StateUrl = setting(
        "memory://",
        "`memory://` for one process; Redis for a fleet: one server, Sentinels that know it, or a cluster.",
    )
    on_failure: Literal["refuse", "local"] = setting(
        "refuse",
        "What happens when it does not answer: refuse requests, or go on with a local share of the limits.",
    )
    processes: Annotated[int, Field(ge=1, le=10_000)] | None = setting(
        None, "How many gateways share the limits; each grants that part alone under `on_failure: local`."
    )
    timeout: Duration = setting("200ms", "How long a request waits for it.")
    password: Secret | None = setting(None, "Password of the user in the URL.")
    sentinel_password: Secret | None = setting(None, "Password of the Sentinels, if they want one.")
    tls: StateTls | None = setting(None, "How a `rediss://` server is verified.")
