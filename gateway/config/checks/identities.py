"""Whether the configured ways to prove an identity, and the roles, can ever come true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.checks.findings import Subject
    from gateway.config.trust import Role

MAX_SKEW: Final = 60.0  # seconds
MAX_PROOF_AGE: Final = 300.0  # seconds
MAX_PROOF_AHEAD: Final = 60.0  # seconds
MAX_NONCE_LIFETIME: Final = 3600.0  # seconds
TOKEN_LINES: Final = ("groups", "claims", "subjects", "clients", "roles_from_token")
READS: Final = (
    ("identity", "issuers"),
    ("server", "tls"),
    ("identity", "anonymous"),
    ("identity", "keys"),
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


def check_proofs(subject: Subject) -> Iterator[Finding]:
    """Proofs of possession can be checked, and soon become worthless."""
    identity = subject.settings.identity
    proofs = identity.proofs
    path = ("identity", "proofs")
    if "proofs" in identity.model_fields_set:
        reads: tuple[tuple[str, ...], ...] = (("server", "origins"),)
        if not subject.settings.server.origins:
            message = "no origin is named: nobody can tell which URLs proofs of possession are made for"
            mend = "add `origins: [https://gateway.example.org]` to `server`, or remove `proofs`"
            yield Finding(path, message, mend, reads, is_key=True)
        if not identity.issuers:
            message = "`proofs` has no effect: no issuer of tokens is believed"
            mend = "add an issuer to `identity.issuers`, or remove `proofs`"
            yield Finding(path, message, mend, READS[:1], is_key=True)
    for key, most, text in (
        ("max_age", MAX_PROOF_AGE, "5m"),
        ("ahead", MAX_PROOF_AHEAD, "60s"),
        ("nonce_lifetime", MAX_NONCE_LIFETIME, "1h"),
    ):
        if getattr(proofs, key) > most:
            message = "a proof that somebody copied would be good for this long elsewhere"
            yield Finding((*path, key), message, f"write at most `{text}`, and synchronise the clocks")
    state = subject.settings.state
    if proofs.nonce == "required" and state.url.scheme != "memory" and state.password is None:
        message = "anybody could make nonces: their key comes from the store's password, and it has none"
        yield Finding((*path, "nonce"), message, "add `password:` to `state`", (("state",),))
    if proofs.nonce == "never" and "nonce_lifetime" in proofs.model_fields_set:
        message = "`nonce_lifetime` has no effect: no nonces are made"
        yield Finding(
            (*path, "nonce_lifetime"), message, "write `nonce: required`, or remove it", is_key=True
        )


def check_anonymous(subject: Subject) -> Iterator[Finding]:
    """Somebody can be identified, and letting strangers in is said loudly."""
    settings = subject.settings
    if settings.identity.anonymous is not None:
        message = "callers without any credential are let in"
        mend = "remove `anonymous` unless the models behind these roles are for everybody"
        yield Finding(("identity", "anonymous"), message, mend, is_warning=True, is_key=True)
    elif not (
        settings.identity.keys is not None
        or settings.identity.issuers
        or settings.identity.trust_domains
        or _asks_for_certificates(subject)
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
        if settings.identity.keys is not None:  # a key names its roles itself
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
