"""Whether every route can be reached, and every rule can hold.

Reads no condition: CEL is compiled, and judged, elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding
from gateway.core.dialects import NAMELESS
from gateway.core.identity import TWO_PROOFS
from gateway.core.route import pattern_segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.authentication import AuthenticationRequirement
    from gateway.config.checks.findings import Subject
    from gateway.config.routing import Requirements, Route, Rule
    from gateway.config.source import Path

# fields that the gateway itself decides: RFC 9110, section 7.6.1, and every client credential
OWN_HEADERS: Final = frozenset(
    b"api-key authorization connection content-encoding content-length cookie date dpop-nonce forwarded "
    b"host keep-alive proxy-authenticate proxy-authorization proxy-connection server set-cookie te trailer "
    b"transfer-encoding upgrade via x-api-key x-forwarded-for x-forwarded-host x-forwarded-proto "
    b"x-gateway-assertion x-real-ip".split()
)
# beside those, on the way to a backend: what the gateway writes itself, and more kinds of credentials
OWN_REQUEST_HEADERS: Final = OWN_HEADERS | frozenset(
    b"accept-encoding content-type dpop expect http2-settings txn-token workload-identity-token "
    b"workload-proof-token x-request-id".split()
)


def check_names(subject: Subject) -> Iterator[Finding]:
    """Names are unique where records rely on it, and lead somewhere."""
    seen: set[str] = set()
    for index, route in enumerate(subject.settings.routes):
        path = ("routes", index)
        if route.name in seen:
            message = f"a second route `{route.name}`"
            yield Finding((*path, "name"), message, "give it another name: records tell routes apart by it")
        seen.add(route.name)
        if route.backend not in subject.backends:
            known = ", ".join(sorted(subject.backends))
            message = f"there is no backend `{route.backend}`"
            mend = f"the backends are {known}" if known else "add it to `backends`"
            yield Finding((*path, "backend"), message, mend)
        rules: set[str] = set()
        for kind, position, rule in _rules(route):
            if rule.name in rules:
                message = f"a second rule `{rule.name}` in this route"
                yield Finding((*path, kind, position, "name"), message, "give it another name")
            rules.add(rule.name)


def check_matches(subject: Subject) -> Iterator[Finding]:
    """No route is hidden behind an earlier one."""
    earlier: list[Route] = []
    for index, route in enumerate(subject.settings.routes):
        for other in earlier:
            shared = sorted(set(route.match.methods) & set(other.match.methods))
            if not shared or not _hides(other.match.path, route.match.path):
                continue
            message = f"{shared[0]} {route.match.path} goes to the route `{other.name}`, which comes first"
            mend = "give it another path or other methods, or put it before that route"
            yield Finding(("routes", index, "match"), message, mend, is_key=True)
        earlier.append(route)


def _hides(first: str, second: str) -> bool:
    """Tell whether every path of the second pattern fits the first. Literal paths are tried first."""
    if first == second:
        return True
    if not _is_pattern(first) or not _is_pattern(second):
        return False
    front, back = pattern_segments(first), pattern_segments(second)
    if front[-1] == "**":
        front = front[:-1]
        if len(back) <= len(front):
            return False
    elif len(front) != len(back) or back[-1] == "**":
        return False
    return all(
        want == have or (want[:1] == "{" and have != "**") for want, have in zip(front, back, strict=False)
    )


def _is_pattern(path: str) -> bool:
    return "{" in path or "*" in path


def check_requirements(subject: Subject) -> Iterator[Finding]:
    """What a route demands is asked for at all."""
    tls = subject.settings.server.tls
    asks = tls is not None and tls.client_certificate != "none"
    for index, route in enumerate(subject.settings.routes):
        path = ("routes", index, "require")
        needs = route.require
        if needs.certificate and not asks:
            message = "a client certificate is demanded, but the listener never asks for one"
            mend = "write `client_certificate: required` (or `optional`) in `server.tls`"
            yield Finding((*path, "certificate"), message, mend, (("server", "tls"),))
        yield from _check_token(subject, path, needs)
        if needs.authentication is not None:
            yield from _authentication((*path, "authentication"), needs.authentication, asks=asks)
        if needs.token is not None and needs.token.bound:
            yield from _binding((*path, "token", "bound"), needs.token.bound, subject, asks=asks)


def _binding(path: tuple[str | int, ...], bound: str, subject: Subject, *, asks: bool) -> Iterator[Finding]:
    """The binding that is demanded can be had: certificates are asked for, or proofs can be checked."""
    takes_proofs = bool(subject.settings.server.origins)
    tls, origins = ("server", "tls"), ("server", "origins")
    if bound == "certificate" and not asks:
        message = "a token bound to the client certificate is demanded, but the listener never asks for one"
        yield Finding(
            path, message, "write `client_certificate: required` (or `optional`) in `server.tls`", (tls,)
        )
    elif bound == "key" and not takes_proofs:
        message = "a proof of possession is demanded, but no origin is named that it could be made for"
        yield Finding(path, message, "add `origins: [https://gateway.example.org]` to `server`", (origins,))
    elif not asks and not takes_proofs:
        message = "a bound token is demanded, but neither certificates nor proofs of possession can be shown"
        mend = "write `client_certificate: required` in `server.tls`, or add `origins:` to `server`"
        yield Finding(path, message, mend, (tls, origins))


def _authentication(
    path: tuple[str | int, ...], needs: AuthenticationRequirement, *, asks: bool
) -> Iterator[Finding]:
    if not (needs.acr or needs.amr or needs.max_age is not None or needs.proofs > 1):
        message = "an authentication is demanded, but nothing of it"
        mend = "add `acr:`, `amr:`, `max_age:` or `proofs: 2`, or remove it"
        yield Finding(path, message, mend, is_key=True)
    if needs.max_age is not None and needs.max_age < 1:
        message = "times of authentications are whole seconds: nobody can be this quick"
        yield Finding((*path, "max_age"), message, "write at least `1s`; `5m` leaves time to work")
    key = "proofs" if needs.proofs > 1 else "acr"
    if not asks and (needs.proofs > 1 or needs.acr == (TWO_PROOFS,)):
        message = "two proofs are demanded, but the listener never asks for a client certificate"
        mend = "write `client_certificate: required` (or `optional`) in `server.tls`"
        yield Finding((*path, key), message, mend, (("server", "tls"),))


def _check_token(subject: Subject, path: Path, needs: Requirements) -> Iterator[Finding]:
    """Somebody can have what is demanded: a token, or a gateway key in its place."""
    identity = subject.settings.identity
    allows_keys = needs.token is not None and needs.token.keys == "allow"
    if allows_keys and identity.keys is None:
        message = "gateway keys are allowed here, but there are none"
        mend = "add `identity.keys`, or remove this line"
        yield Finding((*path, "token", "keys"), message, mend, (("identity", "keys"),))
    if allows_keys and needs.authentication is not None:
        message = "a gateway key says nothing about an authentication: it would be refused"
        yield Finding((*path, "token", "keys"), message, "remove it, or `authentication:`", is_key=True)
    for key in ("token", "authentication"):
        is_met = key == "token" and allows_keys and identity.keys is not None
        if getattr(needs, key) is not None and not identity.issuers and not is_met:
            message = "a token is demanded, but no issuer is believed"
            mend = "add an issuer to `identity.issuers`"
            yield Finding((*path, key), message, mend, (("identity", "issuers"),), is_key=True)


def check_rules(subject: Subject) -> Iterator[Finding]:
    """Every route can allow something, and every rule can hold."""
    for index, route in enumerate(subject.settings.routes):
        path = ("routes", index)
        if not route.allow:
            message = f"the route `{route.name}` has no allow rule: it refuses everybody"
            mend = "add `allow: [{name: ..., roles: [...]}]`, or remove the route"
            yield Finding(
                (*path, "allow") if "allow" in route.model_fields_set else path, message, mend, is_key=True
            )
        for kind, position, rule in _rules(route):
            yield from _rule(subject, (*path, kind, position), rule, is_allow=kind == "allow", route=route)


def _rule(
    subject: Subject, path: tuple[str | int, ...], rule: Rule, *, is_allow: bool, route: Route
) -> Iterator[Finding]:
    lines = ("roles", "models", "networks", "when")
    for line in lines:
        if getattr(rule, line) == ():
            message = f"an empty list of {line}: this rule can never hold"
            yield Finding((*path, line), message, f"add an entry, or remove `{line}:` to mean any")
    if all(getattr(rule, line) is None for line in lines):
        verb = "allows everybody everything" if is_allow else "denies everybody everything"
        message = f"the rule `{rule.name}` has no condition: it {verb}"
        yield Finding(path, message, "add `roles:`, `models:`, `networks:` or `when:`")
    for position, role in enumerate(rule.roles or ()):
        if role not in subject.roles:
            known = ", ".join(sorted(subject.roles)) or "none yet"
            message = f"there is no role `{role}`"
            reads = (("identity", "anonymous"),)
            yield Finding(
                (*path, "roles", position), message, f"add it to `roles`; there are: {known}", reads
            )
    if rule.models and route.dialect in NAMELESS and not names_model(route):
        message = f"requests of the dialect `{route.dialect}` name no model: this rule can never hold"
        yield Finding((*path, "models"), message, "remove `models:`", ((*path[:2], "dialect"),))


def names_model(route: Route) -> bool:
    """Tell whether a model is named beside the body: in the path, or in a header."""
    return "{model}" in route.match.path.split("/") or route.headers.model is not None


def _rules(route: Route) -> Iterator[tuple[str, int, Rule]]:
    for kind, rules in (("allow", route.allow), ("deny", route.deny)):
        for position, rule in enumerate(rules):
            yield kind, position, rule


def check_risk(subject: Subject) -> Iterator[Finding]:
    """Risk and headers of a route mean something."""
    for index, route in enumerate(subject.settings.routes):
        path = ("routes", index)
        risk = route.risk
        if risk.bar is not None and not risk.detectors:
            message = "nothing can reach the bar: the route has no detectors"
            yield Finding((*path, "risk", "bar"), message, "add `detectors: [denied-probing]`, or remove it")
        if risk.bar is None and risk.detectors:
            message = "scores are recorded, but nothing is refused: there is no bar"
            yield Finding((*path, "risk"), message, "add `bar: 0.9`", is_warning=True, is_key=True)
        if route.headers.model in OWN_REQUEST_HEADERS:
            message = f"`{route.headers.model.decode()}` is decided by the gateway itself, and names no model"
            yield Finding((*path, "headers", "model"), message, "write `x-model`")
        for kind in ("request", "answer"):
            for position, name in enumerate(getattr(route.headers, kind)):
                if name in (OWN_REQUEST_HEADERS if kind == "request" else OWN_HEADERS):
                    message = f"`{name.decode()}` is decided by the gateway itself, and never crosses"
                    yield Finding((*path, "headers", kind, position), message, "remove it")
