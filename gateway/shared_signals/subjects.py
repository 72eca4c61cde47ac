"""Whom a security event is about: subject identifiers (RFC 9493; SSF 1.0, section 3) as revocation targets.

A transmitter speaks for the issuers that the configuration names, and for nobody else: a subject of
another issuer matches nothing here. Pure; total over whatever JSON the event holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.revocation import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_VALUE_CHARACTERS = 1024
MAX_ALIASES = 16
SPIFFE = "spiffe://"

Named = tuple[Target, str]


class Voice(NamedTuple):
    """For whom a transmitter speaks.

    Args:
        issuers: Issuers of tokens whose subjects it knows (or `spiffe://` and a trust domain); the first is
            the one of opaque identifiers.
        email_claim: Claim of their tokens that holds the e-mail address.
    """

    issuers: tuple[str, ...]
    email_claim: str = "email"


def read_subject(subject: object, voice: Voice) -> list[Named]:
    """Return what a subject identifier names, most specific first; nothing if it names nobody here.

    Args:
        subject: `sub_id` of the token, or `subject` of an event.
        voice: For whom the transmitter speaks.
    """
    if not isinstance(subject, dict):
        return []
    kind = _format(subject)
    if kind == "aliases":
        listed = subject.get("identifiers")
        aliases = listed[:MAX_ALIASES] if isinstance(listed, list) else []
        return [
            named
            for alias in aliases
            if isinstance(alias, dict) and _format(alias) != "aliases"  # RFC 9493, 3.2.8: not nested
            for named in read_subject(alias, voice)
        ]
    if kind == "complex" or (kind is None and ("user" in subject or "session" in subject)):
        # all members describe one subject together: the narrowest one is meant
        return _session(subject.get("session"), voice) or read_subject(subject.get("user"), voice)
    return _simple(kind, subject, voice)


def _format(subject: Mapping[str, object]) -> str | None:
    kind = subject.get("format", subject.get("subject_type"))  # the second is what drafts called it
    return kind.replace("-", "_") if isinstance(kind, str) else None


def _simple(kind: str | None, subject: Mapping[str, object], voice: Voice) -> list[Named]:
    match kind:
        case "iss_sub":
            issuer, name = _text(subject, "iss"), _text(subject, "sub")
            return _subject(issuer, name) if name and issuer in voice.issuers else []
        case "jwt_id":
            issuer, name = _text(subject, "iss"), _text(subject, "jti")
            return [(Target.TOKEN, f"{issuer}|{name}")] if name and issuer in voice.issuers else []
        case "email":
            address = _text(subject, "email").lower()
            return [
                (Target.CLAIM, f"{issuer}|{voice.email_claim}|{address}")
                for issuer in voice.issuers
                if address
            ]
        case "opaque":
            name = _text(subject, "id")
            return _subject(voice.issuers[0], name) if name else []
        case "uri":
            uri = _text(subject, "uri")
            domains = [issuer for issuer in voice.issuers if issuer.startswith(SPIFFE)]
            return [(Target.SUBJECT, uri)] if any(uri.startswith(f"{each}/") for each in domains) else []
        case _:
            return []


def _subject(issuer: str, name: str) -> list[Named]:
    """Name a subject as `Identity.key` does: a workload is its SPIFFE ID, and its domain's alone."""
    if issuer.startswith(SPIFFE):
        return [(Target.SUBJECT, name)] if name.startswith(f"{issuer}/") else []
    return [(Target.SUBJECT, f"{issuer}|{name}")]


def _session(session: object, voice: Voice) -> list[Named]:
    """A session is named by the `sid` that its tokens carry, in an opaque identifier."""
    if not isinstance(session, dict) or _format(session) != "opaque":
        return []
    name = _text(session, "id")
    return [(Target.SESSION, f"{issuer}|{name}") for issuer in voice.issuers if name]


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) and len(value) <= MAX_VALUE_CHARACTERS else ""
