"""x509-limbo's client certificates through everything that decides on one, and why we differ where we do.

No chain that both RFC 5280 and its profile of the public web refuse is accepted; the two that are
accepted follow RFC 5280. Some are refused that limbo calls valid: `STRICTER` says why.
"""

from __future__ import annotations

import gzip
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from gateway.core.refusal import Refusal
from gateway.credentials.authorities import MAX_DEPTH, Authorities
from gateway.credentials.revocation_lists import ListError, RevocationList, RevocationLists, parse_lists
from gateway.credentials.trust import Trust, Vouchers
from tests.pki import Ca

from .parts import NOW

CASES = Path(__file__).parents[2] / "vectors/limbo/limbo-client.json.gz"

# Accepted although limbo's profile of the public web refuses them.
LENIENT = {
    "webpki::eku::ee-without-eku": "RFC 5280 allows it, and limbo's own rfc5280::eku::ee-without-eku is valid",
    "webpki::eku::root-has-eku": "a private root may say what it is for; it is held to that",
}
# Refused although limbo calls them valid.
STRICTER = {
    "cve::cve-2024-0567": "only self-signed authorities are anchors",
    "rfc5280::root-and-intermediate-swapped": "only self-signed authorities are anchors",
    "crl::issuer-no-keyusage-extension": "an authority says what its key is for",
    "pathlen::validation-ignores-pathlen-in-leaf": "an authority's own certificate is no client's",
    "rfc5280::ca-as-leaf": "an authority's own certificate is no client's",
    "pathlen::self-issued-certs-pathlen": "the library counts self-issued certificates, too",
    "pathlen::max-chain-depth-1-self-issued": "the library counts self-issued certificates, too",
    "rfc5280::nc::permitted-dn-match": "constraints on distinguished names are not understood: they refuse",
    "rfc5280::validity::notafter-fractional": "a certificate ends with its second, not after it",
    "webpki::nc::permitted-dns-match-noncritical": "RFC 5280, section 4.2.1.10: constraints are critical",
}


def is_accepted(case: dict[str, Any]) -> bool:
    """Decide on one case as on a connection."""
    moment = case["validation_time"]
    now = (datetime.fromisoformat(moment) if moment else datetime(2026, 1, 1, tzinfo=UTC)).timestamp()
    depth = case["max_chain_depth"]
    revocations = None
    try:
        authorities = Authorities(
            x509.load_pem_x509_certificate(one.encode()) for one in case["trusted_certs"]
        )
        if case["crls"]:
            lists = parse_lists("".join(case["crls"]).encode())
            revocations = RevocationLists(RevocationList(one, authorities.certificates, now) for one in lists)
    except (ValueError, ListError):
        return False  # the configuration does not load
    pems = [case["peer_certificate"], *case["untrusted_intermediates"]]
    judged = Trust(Vouchers(authorities, revocations)).judge(
        [ssl.PEM_cert_to_DER_cert(one) for one in pems], now, depth=MAX_DEPTH if depth is None else depth
    )
    return not isinstance(judged, Refusal)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_every_case_is_decided_as_said() -> None:
    """As limbo says, but for those explained above; who a server is called is not asked of a client."""
    cases = msgspec.json.decode(gzip.decompress(CASES.read_bytes()))["testcases"]
    lenient, stricter = set(), set()
    for case in cases:
        accepted, name = is_accepted(case), case["id"]
        if accepted and case["expected_result"] == "FAILURE" and not case["about_server_name_only"]:
            lenient.add(name)
        if not accepted and case["expected_result"] == "SUCCESS":
            stricter.add(name)

    assert len(cases) > 100
    assert (lenient, stricter) == (set(LENIENT), set(STRICTER))


def test_the_judge_is_no_judge_that_refuses_everything() -> None:
    """A good chain in limbo's form is accepted, with a list that it is not on."""
    root = Ca("root", NOW)
    leaf = root.issue()
    case = {
        "validation_time": datetime.fromtimestamp(NOW, UTC).isoformat(),
        "max_chain_depth": None,
        "trusted_certs": [root.pem.decode()],
        "untrusted_intermediates": [],
        "peer_certificate": leaf.pem.decode(),
        "crls": [root.revoke().decode()],
    }

    assert is_accepted(case)
    assert not is_accepted(case | {"crls": [root.revoke(leaf).decode()]})
