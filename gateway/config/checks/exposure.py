"""What would cross a network in the clear, or be reachable by anybody. Resolves no names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.addresses import address_of
from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.addresses import Url
    from gateway.config.checks.findings import Subject
    from gateway.config.listener import ServerTls
    from gateway.config.upstream import Backend

TLS_MEND = "add `tls: {certificate: ..., private_key: ..., client_ca: ...}`, or listen on 127.0.0.1"


def check_server(subject: Subject) -> Iterator[Finding]:
    """The clients' listener is encrypted, and can verify the certificates that it asks for."""
    server = subject.settings.server
    tls = server.tls
    for index, origin in enumerate(server.origins):
        if origin.scheme == "http" and not origin.is_local:
            message = "clients would reach the gateway in the clear under this origin"
            yield Finding(("server", "origins", index), message, "write `https://`")
    if tls is None:
        if not server.listen.is_local:
            yield Finding(("server", "listen"), "no TLS on a network address", TLS_MEND, (("server", "tls"),))
        return
    yield from _client_certificates(tls, has_domains=bool(subject.settings.identity.trust_domains))


def _client_certificates(tls: ServerTls, *, has_domains: bool) -> Iterator[Finding]:
    path = ("server", "tls")
    if tls.revocation_list is None and tls.revocation_grace:
        message = "`revocation_grace` has no effect without `revocation_list`"
        yield Finding((*path, "revocation_grace"), message, "remove it", is_key=True)
    if tls.client_certificate == "none":
        for key in ("client_ca", "revocation_list"):
            if getattr(tls, key) is not None:
                message = f"`{key}` has no effect: client certificates are not asked for"
                yield Finding(
                    (*path, key), message, f"write `client_certificate: required`, or remove `{key}`"
                )
    elif tls.client_ca is None and not has_domains:
        message = "client certificates are asked for, but no authority for them is named"
        mend = "add `client_ca:`, or write `client_certificate: none`"
        yield Finding(path, message, mend, (("identity", "trust_domains"),), is_key=True)
    elif tls.client_ca is None and tls.revocation_list is not None:
        message = "`revocation_list` has no effect without `client_ca`: trust domains have their own"
        yield Finding((*path, "revocation_list"), message, "remove it", ((*path, "client_ca"),), is_key=True)


def check_admin(subject: Subject) -> Iterator[Finding]:
    """The operators' listener is not open to the network."""
    admin = subject.settings.admin
    if admin is None:
        return
    path = ("admin", "listen")
    server = subject.settings.server.listen
    if admin.listen == server and (server.port or server.path):
        message = "clients and operators have the same address"
        yield Finding(path, message, "give the operators another port", (("server", "listen"),))
    if admin.listen.is_local:
        return
    if admin.token is None:
        message = "operators need no token on a network address"
        mend = "add `token: file:secrets/admin-token`, or listen on 127.0.0.1"
        yield Finding(path, message, mend, (("admin", "token"),))
    if admin.tls is None:
        message = "operators and their token cross a network in the clear"
        mend = "add `tls: {certificate: ..., private_key: ...}`, or listen on 127.0.0.1"
        yield Finding(path, message, mend, (("admin", "tls"),), is_warning=True)


def check_state(subject: Subject) -> Iterator[Finding]:
    """Redis is reached encrypted, or not over a network at all."""
    state = subject.settings.state
    scheme = state.url.scheme
    path = ("state", "url")
    reads = (("state", "tls"), ("state", "password"))
    if scheme != "memory" and not state.url.is_tls and not state.url.is_local:
        message = "limits and identities cross a network in the clear"
        secure = scheme.replace("redis", "rediss", 1)
        yield Finding(path, message, f"write `{secure}://` and add `tls: {{ca: ...}}`")
    if state.url.is_tls and state.tls is None:
        message = "no authority is named that could verify the server"
        yield Finding(path, message, "add `tls: {ca: ...}` to `state`", reads)
    if not state.url.is_tls and state.tls is not None:
        message = f"`tls` has no effect with a `{scheme}:` URL"
        yield Finding(("state", "tls"), message, "write `rediss://`, or remove `tls`", (path,), is_key=True)
    if scheme == "memory" and state.password is not None:
        message = "`password` has no effect with `memory://`"
        yield Finding(("state", "password"), message, "remove it", (path,), is_key=True)
    if state.sentinel_password is not None and not scheme.endswith("+sentinel"):
        message = f"`sentinel_password` has no effect with a `{scheme}:` URL"
        mend = "remove it, or write `rediss+sentinel://`"
        yield Finding(("state", "sentinel_password"), message, mend, (path,), is_key=True)


def check_backends(subject: Subject) -> Iterator[Finding]:
    """Backends are reached encrypted and verified, or not over a network at all."""
    for name, backend in subject.settings.backends.items():
        used: set[str] = set()
        for index, endpoint in enumerate(backend.endpoints):
            path = ("backends", name, "endpoints", index)
            if endpoint.text in used:
                yield Finding(path, "this endpoint stands twice", "remove one of the two")
            used.add(endpoint.text)
            yield from _endpoint(name, index, endpoint, backend)
        yield from _backend_tls(name, backend)


def _endpoint(name: str, index: int, endpoint: Url, backend: Backend) -> Iterator[Finding]:
    path = ("backends", name, "endpoints", index)
    tls = ("backends", name, "tls")
    if endpoint.scheme == "http" and not endpoint.is_local:
        message = "prompts and answers cross a network in the clear"
        yield Finding(
            path, message, "write `https://` and add `tls: {ca: ...}`, or put a TLS sidecar beside the model"
        )
    elif endpoint.scheme == "http":
        message = "this backend is not verified: whoever listens on that port gets the prompts"
        yield Finding(path, message, "prefer `unix:/path.sock` or `https://`", is_warning=True)
    if endpoint.scheme == "https" and backend.tls is None:
        message = "no authority is named that could verify this endpoint"
        yield Finding(path, message, "add `tls: {ca: ...}` to the backend", (tls,))
    address = address_of(endpoint.host)
    networks = backend.networks
    if address is not None and networks is not None and not any(address in network for network in networks):
        message = f"{address} lies in none of the backend's networks: it would never be connected to"
        mend = "add its network to `networks`, or remove the endpoint"
        yield Finding(path, message, mend, (("backends", name, "networks"),))
    if endpoint.host and address is None and not endpoint.is_local and networks is None:
        message = "this name may lead to any address"
        yield Finding(
            path,
            message,
            "add `networks:` to the backend",
            (("backends", name, "networks"),),
            is_warning=True,
        )


def _backend_tls(name: str, backend: Backend) -> Iterator[Finding]:
    tls = backend.tls
    if tls is None:
        return
    path = ("backends", name, "tls")
    if all(endpoint.scheme != "https" for endpoint in backend.endpoints):
        message = "`tls` has no effect: no endpoint is `https://`"
        yield Finding(path, message, "write `https://` endpoints, or remove `tls`", (path[:2],), is_key=True)
    if tls.identity is not None and tls.server_name is not None:
        message = "`identity` and `server_name` are two different proofs"
        yield Finding((*path, "server_name"), message, "keep the one that the backend's certificate has")


def check_traces(subject: Subject) -> Iterator[Finding]:
    """Traces name identities: they should not cross a network in the clear."""
    traces = subject.settings.traces
    if traces is not None and traces.endpoint.scheme == "http" and not traces.endpoint.is_local:
        message = "traces cross a network in the clear, and they name identities"
        mend = "write `https://`, or send them to a collector on this machine"
        yield Finding(("traces", "endpoint"), message, mend, is_warning=True)
