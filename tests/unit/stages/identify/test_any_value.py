"""Whatever JSON stands in any member of a credential: somebody is named, or there is a reason; nothing fails."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.introspection import Introspected
from gateway.core.refusal import Refused
from gateway.shared_signals.events import CAEP, RISC
from gateway.shared_signals.receiver import Rejected
from gateway.stages.identify import Domain, Identification, OpaqueIssuer, Possession, identify
from tests.unit.shared_signals import parts as signals

from .parts import ISSUER, NOW, HeldKeys, call, certificate, claims, forge, header, issuer, signer
from .proofs import OnceInATest, bound_token, proof_for, proven_call, read_key, rules

if TYPE_CHECKING:
    from gateway.core.call import Call

WORKLOAD = "spiffe://example.org/batch"
TOKEN = bound_token()
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
HEADER = ("alg", "typ", "kid", "crit", "b64", "jku")
CLAIMS = (
    "iss", "sub", "aud", "iat", "exp", "nbf", "jti", "client_id", "azp", "scope", "groups", "held", "cnf",
    "acr", "amr", "auth_time", "sid",
)  # fmt: skip


@final
class Answering:
    """An issuer that answers what a test says."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def ask(self, token: bytes, digest: bytes, address: str, /) -> Introspected:
        return Introspected(self.body, NOW)

    def believed(self, address: str, /) -> None:
        pass


async def judged(request: Call, answer: bytes = b"{}") -> None:
    """Judge a request by a gateway that takes everything."""
    one = issuer(roles_claim="held")
    methods = Identification(
        [one],
        opaque=[OpaqueIssuer(one, Answering(answer))],
        domains=[Domain("example.org", HeldKeys(signer()), "gateway")],
        possession=Possession(rules(), read_key, once=OnceInATest()),
    )
    with suppress(Refused):
        await identify(request, methods, NOW)


@given(st.sampled_from(HEADER), VALUES, st.booleans())
async def test_of_a_header(name: str, value: object, is_svid: bool) -> None:
    """Of an access token, and of a JWT-SVID."""
    if is_svid:
        head = {"alg": "ES256", "kid": signer().kid, "typ": "JWT", name: value}
        token = forge(head, {"sub": WORKLOAD, "aud": "gateway", "exp": int(NOW) + 300})
    else:
        token = forge(header(**{name: value}), claims())
    await judged(call(token))


@given(st.sampled_from(CLAIMS), VALUES, st.booleans())
async def test_of_a_payload(name: str, value: object, is_svid: bool) -> None:
    """Likewise, beside a certificate."""
    payload = claims(**{name: value})
    if is_svid:
        payload = {"sub": WORKLOAD, "aud": "gateway", "exp": int(NOW) + 300} | {name: value}
    await judged(call(forge(header(), payload), certificate()))


@given(st.sampled_from(("active", "token_type", *CLAIMS)), VALUES)
async def test_of_an_answer(name: str, value: object) -> None:
    """Of an issuer that was asked about an opaque token."""
    answer = {"active": True, **claims(), name: value}
    await judged(call("opaque"), msgspec.json.encode(answer))


@given(st.sampled_from(("kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid", "d")), VALUES)
async def test_of_the_key_of_a_proof(name: str, value: object) -> None:
    """It comes from the client."""
    proof = proof_for(TOKEN, headers={"jwk": signer("ES256", "holder").public | {name: value}})
    await judged(proven_call(TOKEN, proof))


@pytest.mark.parametrize(
    "kind",
    [
        CAEP + "assurance-level-change",
        CAEP + "device-compliance-change",
        CAEP + "risk-level-change",
        CAEP + "session-revoked",
        RISC + "account-disabled",
        RISC + "account-enabled",
    ],
)
@given(
    st.sampled_from(("change_direction", "current_status", "current_level", "event_timestamp", "subject")),
    VALUES,
    st.sampled_from(("iss_sub", "jwt_id", "email", "opaque", "uri", "aliases", "complex")),
    st.sampled_from(("format", "iss", "sub", "identifiers", "user", "session", "id", "uri", "email")),
    VALUES,
)
async def test_of_an_event(kind: str, name: str, value: object, form: str, about: str, other: object) -> None:
    """And of its subject: taken, or rejected."""
    subject = {"format": form, "iss": ISSUER, "sub": "alice", about: other}
    token = signals.signed(signals.claims(kind, {name: value}, sub_id=subject))
    with suppress(Rejected):
        await signals.World().receiver.take(token)
