"""The form of a SPIFFE ID (SPIFFE-ID, section 2). Knows nothing about who vouches for it."""

from __future__ import annotations

import re
from typing import Final

MAX_ID_BYTES: Final = 2048
MAX_TRUST_DOMAIN_BYTES: Final = 255
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]+")
SCHEME: Final = "spiffe://"


def is_trust_domain(name: str) -> bool:
    """Tell whether a name is that of a trust domain (SPIFFE-ID, section 2.1)."""
    return _TRUST_DOMAIN.fullmatch(name) is not None and len(name) <= MAX_TRUST_DOMAIN_BYTES


def is_spiffe_id(text: str) -> bool:
    """Tell whether a URI is a well-formed SPIFFE ID, with or without a path.

    There is one spelling per ID: upper-case schemes or trust domains, ports, percent-encoding, empty
    or dot segments, queries and trailing slashes are all refused, never normalised.
    """
    if not text.startswith(SCHEME) or len(text) > MAX_ID_BYTES:
        return False
    domain, slash, path = text[len(SCHEME) :].partition("/")
    if not is_trust_domain(domain):
        return False
    return not slash or all(_SEGMENT.fullmatch(segment) for segment in path.split("/"))


def is_workload_id(text: str) -> bool:
    """Tell whether a URI names a workload: a SPIFFE ID with a path (X.509-SVID, section 2)."""
    return is_spiffe_id(text) and "/" in text[len(SCHEME) :]


def trust_domain(spiffe_id: str) -> str:
    """Return the trust domain of a well-formed SPIFFE ID."""
    return spiffe_id[len(SCHEME) :].partition("/")[0]
