"""Whether opaque tokens have one issuer each, and whether questions about them and gateway keys are safe."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.config.checks.material import Files
from gateway.config.checks.servers import check_authorities

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path as FilePath

    from gateway.config.checks.findings import Subject
    from gateway.config.opaque import ClientAuthentication, Introspection
    from gateway.config.source import Path
    from gateway.config.trust import Issuer

LONGEST_BELIEF: Final = 10.0  # seconds
LONGEST_QUESTION: Final = 30.0
KEY_PREFIX: Final = "gk_"
WAYS: Final = ("private_key_jwt", "mtls", "client_secret")


def check_introspection(subject: Subject) -> Iterator[Finding]:
    """Every opaque token has one issuer that is asked about it, over a line that nobody else reads."""
    files = Files(subject.now)
    default: str | None = None
    prefixes: dict[str, str] = {}
    for index, issuer in enumerate(subject.settings.identity.issuers):
        asked = issuer.introspection
        if asked is None:
            continue
        path: Path = ("identity", "issuers", index, "introspection")
        prefix = asked.token_prefix
        if prefix is None:
            if default is not None:
                message = f"opaque tokens without a prefix could be those of `{default}` or of this issuer"
                yield Finding(path, message, "add `token_prefix:` to all of them but one", is_key=True)
            default = default or issuer.issuer
        else:
            yield from _check_prefix((*path, "token_prefix"), prefix, prefixes)
            prefixes[prefix] = issuer.issuer
        yield from _check_question(path, issuer, asked)
        if asked.endpoint is not None:
            yield from check_authorities((*path, "ca"), asked.ca, {(*path, "endpoint"): asked.endpoint})
        yield from files.authorities((*path, "ca"), asked.ca)
        yield from check_authentication((*path, "authentication"), asked.authentication, files)


def _check_prefix(path: Path, prefix: str, others: dict[str, str]) -> Iterator[Finding]:
    if prefix.startswith(KEY_PREFIX) or KEY_PREFIX.startswith(prefix):
        message = f"gateway keys begin with `{KEY_PREFIX}`: none is ever shown to an issuer"
        yield Finding(path, message, "write the begin of this issuer's tokens")
    for other, issuer in others.items():
        if prefix.startswith(other) or other.startswith(prefix):
            message = f"a token that begins so could be one of `{issuer}`, whose prefix is `{other}`"
            yield Finding(path, message, "write prefixes of which none begins with another")


def _check_question(path: Path, issuer: Issuer, asked: Introspection) -> Iterator[Finding]:
    endpoint = asked.endpoint
    if endpoint is None:
        if issuer.jwks is not None:
            message = "nobody knows where to ask: nothing is discovered, as `jwks` is given"
            yield Finding(
                path, message, "add `endpoint:`, or remove `jwks`", ((*path[:-1], "jwks"),), is_key=True
            )
    elif endpoint.scheme == "http" and not endpoint.is_local:
        message = "tokens would be sent in the clear, and anybody on the network path could call one active"
        yield Finding((*path, "endpoint"), message, "write `https://`")
    if asked.cache > LONGEST_BELIEF:
        message = "a revoked token would be good for as long as this"
        yield Finding((*path, "cache"), message, "write at most `10s`")
    if asked.timeout > LONGEST_QUESTION:
        message = "a client would wait this long for an issuer that does not answer"
        yield Finding((*path, "timeout"), message, "write at most `30s`")


def check_authentication(path: Path, ways: ClientAuthentication, files: Files) -> Iterator[Finding]:
    """Check how the gateway proves itself to an authorization server: one way, with usable files."""
    chosen = [way for way in WAYS if getattr(ways, way) is not None]
    if len(chosen) != 1:
        message = "no way to prove who asks" if not chosen else f"more than one way: {', '.join(chosen)}"
        yield Finding(path, message, f"write exactly one of {', '.join(WAYS)}", is_key=True)
    if ways.private_key_jwt is not None:
        key = ways.private_key_jwt.private_key
        place = (*path, "private_key_jwt", "private_key")
        yield from files.signing_key(place, key, lambda _: None, "EC -pkeyopt ec_paramgen_curve:P-256")
    if ways.mtls is not None:
        yield from files.pair((*path, "mtls"), ways.mtls.certificate, ways.mtls.private_key, "")
    if ways.client_secret is not None:
        yield from files.secret((*path, "client_secret"), ways.client_secret)
        message = "a shared secret goes to the issuer with every question"
        mend = "use `private_key_jwt` or `mtls` if the issuer can"
        yield Finding((*path, "client_secret"), message, mend, is_warning=True, is_key=True)


def check_gateway_keys(subject: Subject) -> Iterator[Finding]:
    """The file of gateway keys can be trusted, and its pepper is a secret."""
    keys = subject.settings.identity.keys
    if keys is None:
        return
    path: Path = ("identity", "keys")
    files = Files(subject.now)
    yield from files.secret((*path, "pepper"), keys.pepper, is_ours=True)
    yield from _check_mode((*path, "file"), keys.file)
    if not subject.settings.roles:
        message = "a gateway key needs a role, and there are none"
        yield Finding(path, message, "add roles to `roles`", (("roles",),), is_key=True)


def _check_mode(path: Path, file: FilePath) -> Iterator[Finding]:
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        message = f"there is no file {file}: there are no gateway keys yet"
        yield Finding(path, message, "`gateway keys create` makes it", is_warning=True)
        return
    except OSError as fault:
        message = f"{file} cannot be read: {(fault.strerror or 'unknown reason').lower()}"
        yield Finding(path, message, "let the user that runs the gateway read it")
        return
    mend = f"`chmod 600 {file}`"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Finding(path, f"others than its owner may write {file}, and so give roles to any key", mend)
    elif mode & stat.S_IRWXO:
        yield Finding(path, f"every user of this machine may open {file}", mend, is_warning=True)
