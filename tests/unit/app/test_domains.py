"""Trust domains, compiled: bundles from files and endpoints, and what tokens of theirs are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from structlog.testing import capture_logs

from gateway.app.compilation import _report_keys
from gateway.core.call import Call
from gateway.core.identity import Peer
from gateway.credentials.bundles import write_bundle
from gateway.credentials.key_news import KeyNews
from gateway.credentials.trust_domains import BundleEndpoint, BundleFile
from gateway.stages.identify import Identification, identify
from tests.pki import Ca
from tests.unit.app.settings import CLOCK, FULL, line_of

if TYPE_CHECKING:
    from tests.unit.app.settings import Directory

ONE = Ca("one", CLOCK.wall())
DOMAINS = """\
identity:
  trust_domains:
    one.example: {bundle: "file:one.json", audience: model-gateway, refresh: 1s, skew: 5s, max_lifetime: 5m}
    two.example: {bundle: "https://bundle.example.org/"}
"""
TEXT = FULL.replace("identity:\n", DOMAINS)
ORIGIN = TEXT.replace("server:\n", "server:\n  origins: [https://gateway.example.org]\n")


def test_domains_are_compiled(directory: Directory) -> None:
    """Files are read, endpoints are not asked yet; only who has an audience may send tokens."""
    directory.write("one.json", write_bundle([ONE.certificate]))
    made = directory.compile(TEXT)
    one, two = made.domains.values()
    assert made.client_trust is not None

    assert ((ONE.certificate,), 1.0) == (one.authorities, one.pause())
    assert ((), False) == (two.authorities, two.is_usable)
    assert (BundleFile, BundleEndpoint) == (type(one._source), type(two._source))
    assert ["one.example"] == list(made.identification.domains)
    accepted = made.identification.domains["one.example"]
    assert (one, "model-gateway", 300.0, 5.0) == (
        accepted.keys,
        accepted.audience,
        accepted.max_lifetime,
        accepted.skew,
    )
    assert {"one.example", "two.example"} == set(made.client_trust.trust.domains)


def test_the_gateway_s_origin_is_the_usual_audience(directory: Directory) -> None:
    """Where there is one."""
    directory.write("one.json", write_bundle([ONE.certificate]))
    made = directory.compile(ORIGIN)

    assert ["model-gateway", "https://gateway.example.org"] == [
        each.audience for each in made.identification.domains.values()
    ]


def test_a_broken_bundle_is_a_finding(directory: Directory) -> None:
    """At its line, with what is wrong."""
    directory.write("one.json", write_bundle([ONE.certificate]))

    assert [(line_of(TEXT, '"file:one.json"'), "the bundle has no list of keys")] == directory.findings(
        TEXT, lambda: directory.write("one.json", b"{}")
    )


def test_what_happens_to_a_bundle_is_said_as_for_keys() -> None:
    """Under the name of the trust domain."""
    with capture_logs() as lines:
        _report_keys("spiffe://one.example", KeyNews("keys-unavailable", "timeout"))

    assert [("keys-unavailable", "spiffe://one.example", "timeout")] == [
        (line["event"], line["issuer"], line["why"]) for line in lines
    ]


async def test_a_development_token_is_a_jwt_svid(directory: Directory) -> None:
    """What the documentation says to try: bundle with the issuer's keys, token of a workload without `iss`."""
    directory.write("one.json", write_bundle([ONE.certificate], [directory.issuer.signer.jwk]))
    made = directory.compile(TEXT)
    token = directory.issuer.mint("spiffe://one.example/a", headers={"typ": "JWT"}, omit=["iss"])
    fields = {b"authorization": f"Bearer {token}".encode()}
    call = Call("id", "POST", "/", "", fields, Peer("192.0.2.1", 1), cast("Any", None))
    known = Identification(domains=made.identification.domains.values())  # nothing is revoked yet
    found = await identify(call, known, CLOCK.wall())

    assert ("spiffe://one.example/a", ("jwt",)) == (found.key, found.methods)
