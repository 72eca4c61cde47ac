"""Whether the configured ways to prove an identity, and the roles, can ever come true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject
    from gateway.config.trust import Role

MAX_SKEW: Final = 60.0  # seconds
TOKEN_LINES: Final = ("groups", "claims", "subjects", "clients", "roles_from_token")
READS: Final = (
    ("identity", "issuers"),
    ("server", "tls"),
    ("identity", "anonymous"),
    ("identity", "trust_domains"),
)


def check_issuers(subject: Subject) -> Iterator[Finding]:
    """Issuers are distinct, and their dates mean something."""
    seen: dict[str, int] = {}
    for index, issuer in enumerate(subject.settings.identity.issuers):
        path = ("identity", "issuers", index)
        first = seen.setdefault(issuer.issuer, index)
        if first != index:
            message = f"`{issuer.issuer}` stands twice: its tokens could be judged either way"
            yield Finding((*path, "issuer"), message, "keep one entry per issuer")
        if issuer.skew > MAX_SKEW:
            message = "clocks this far apart make expired tokens valid"
            yield Finding((*path, "skew"), message, "write at most `60s`, and synchronise the clocks")


def check_anonymous(subject: Subject) -> Iterator[Finding]:
    """Somebody can be identified, and letting strangers in is said loudly."""
    settings = subject.settings
    if settings.identity.anonymous is not None:
        message = "callers without any credential are let in"
        mend = "remove `anonymous` unless the models behind these roles are for everybody"
        yield Finding(("identity", "anonymous"), message, mend, is_warning=True, is_key=True)
    elif not (
        settings.identity.issuers or settings.identity.trust_domains or _asks_for_certificates(subject)
    ):
        message = "nobody can be identified: there are no issuers, and no client certificates are asked for"
        mend = "add an issuer to `identity`, or `client_certificate: required` to `server.tls`"
        yield Finding(("identity",), message, mend, READS, is_key=True)


def check_roles(subject: Subject) -> Iterator[Finding]:
    """Every role can be had by somebody."""
    settings = subject.settings
    anonymous = settings.identity.anonymous
    claims = [issuer.roles_claim for issuer in settings.identity.issuers if issuer.roles_claim]
    for name, role in settings.roles.items():
        path = ("roles", name)
        if anonymous is not None and name in anonymous.roles:
            continue
        if not role.model_fields_set or not any(getattr(role, line) for line in role.model_fields_set):
            message = f"nothing can match the role `{name}`"
            yield Finding(path, message, "add `groups:`, `spiffe:`, `claims:` or another line", is_key=True)
        elif not _is_reachable(subject, role):
            message = (
                f"nobody can have the role `{name}`: the credentials that it looks at are never asked for"
            )
            mend = "add an issuer to `identity`, ask for client certificates, or remove the role"
            yield Finding(path, message, mend, READS, is_key=True)
        elif role.roles_from_token and not claims:
            message = "no issuer has a `roles_claim`"
            mend = "add `roles_claim:` to the issuer, or remove this line"
            yield Finding((*path, "roles_from_token"), message, mend, READS[:1], is_key=True)


def _asks_for_certificates(subject: Subject) -> bool:
    tls = subject.settings.server.tls
    return tls is not None and tls.client_certificate != "none"


def _is_reachable(subject: Subject, role: Role) -> bool:
    has_tokens = bool(subject.settings.identity.issuers)
    has_certificates = _asks_for_certificates(subject)
    if has_tokens and any(getattr(role, line) for line in TOKEN_LINES):
        return True
    has_domains = bool(subject.settings.identity.trust_domains)
    return (bool(role.spiffe) and (has_tokens or has_certificates or has_domains)) or (
        bool(role.certificates) and has_certificates
    )
