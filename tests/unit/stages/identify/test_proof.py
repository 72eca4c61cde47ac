"""`proof`: one proof for one request, and everything that is not (RFC 9449, section 4.3)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call
from gateway.core.identity import Peer
from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.compact import MAX_TOKEN_BYTES
from gateway.stages.identify.nonce import Nonces
from gateway.stages.identify.proof import (
    BAD_SIGNATURE,
    DATE_INVALID,
    FUTURE,
    ID_INVALID,
    MALFORMED,
    NONCE_INVALID,
    NOT_JSON,
    OLD,
    OTHER_METHOD,
    OTHER_TARGET,
    OTHER_TOKEN,
    Proof,
    ProofRules,
    check_proof,
)
from gateway.stages.identify.proof_key import KEY_MISFIT, KEY_OTHER, KEY_REFUSED, TYPE_REFUSED, ProofKeys

from .parts import NOW, encode, signer
from .proofs import (
    ALGORITHMS,
    NONCES,
    ORIGIN,
    URL,
    bound_token,
    digest,
    proof_for,
    proven_call,
    read_key,
    rules,
)

TOKEN = bound_token()
HOLDER = signer("ES256", "holder")

RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0Rs"
    "cEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2"
    "In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90"
    "ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFF"
    "byJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
RFC_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
RFC_KEY = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
RFC_TIME = 1_562_262_618.0


def judge(
    proof: str | bytes,
    token: str = TOKEN,
    thumbprint: str = HOLDER.thumbprint,
    now: float = NOW,
    **options: Any,
) -> Proof | Refusal:
    """Check a proof for the request that all tests here make."""
    made = rules(**options)
    value = proof if isinstance(proof, bytes) else proof.encode()
    keys = ProofKeys(made.algorithms, read_key, 10)
    return check_proof(value, proven_call(token, value), digest(token), thumbprint, made, keys, now)


def raw(payload: bytes | dict[str, object], header: bytes | dict[str, object] | None = None) -> bytes:
    """A proof with exactly these octets, signed by the holder."""
    head = header if header is not None else {"typ": "dpop+jwt", "alg": "ES256", "jwk": HOLDER.public}
    parts = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in (head, payload)]
    message = encode(parts[0]) + b"." + encode(parts[1])
    return message + b"." + encode(HOLDER._sign(message))


def test_the_example_of_the_rfc() -> None:
    """RFC 9449, section 7.1: figures 12 and 13, at the time at which they were made."""
    call = Call("id", "GET", "/protectedresource", "", {}, Peer("192.0.2.1", 1), None)  # type: ignore[arg-type]
    made = ProofRules(("https://resource.example.org",), frozenset({"ES256"}))
    keys = ProofKeys(made.algorithms, read_key, 10)
    proof = check_proof(RFC_PROOF.encode(), call, digest(RFC_TOKEN), RFC_KEY, made, keys, RFC_TIME)

    assert isinstance(proof, Proof)
    assert RFC_TIME == proof.issued


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm(algorithm: str) -> None:
    """A good proof is good under each algorithm that is accepted, and under no other rules."""
    token = bound_token(algorithm=algorithm)
    proof = proof_for(token, algorithm=algorithm)
    thumbprint = signer(algorithm, "holder").thumbprint
    refused = judge(proof, token, thumbprint, algorithms=ALGORITHMS - {algorithm})

    assert isinstance(judge(proof, token, thumbprint), Proof)
    assert isinstance(refused, Refusal)
    assert Reason.PROOF_KEY is refused.reason


NOTHING = proof_for(TOKEN)
HEAD, BODY, SIGNATURE = NOTHING.split(".")


WRONG: list[tuple[str | bytes, Refusal]] = [
    ("", MALFORMED),
    ("a", MALFORMED),
    ("a.b", MALFORMED),
    (f"{NOTHING}, {NOTHING}", MALFORMED),
    (f"{NOTHING}.{SIGNATURE}", MALFORMED),
    (f"{NOTHING}=", MALFORMED),
    (f"{NOTHING}==", MALFORMED),
    (f"{HEAD}.{BODY}.", MALFORMED),
    (f"{HEAD}..{SIGNATURE}", MALFORMED),
    (f" {NOTHING}", MALFORMED),
    (f"{NOTHING}\n", MALFORMED),
    (f"{HEAD}.{BODY}.{SIGNATURE[:-1]}_", MALFORMED),  # unused bits: another spelling of the same octets
    ("A" * MAX_TOKEN_BYTES + ".A.A", MALFORMED),
    ("A" * 10_000_000, MALFORMED),
    (f"{HEAD}.{BODY}.{encode(b'x' * 64).decode()}", BAD_SIGNATURE),
    (f"{HEAD}.{BODY}.{encode(b'x' * 63).decode()}", BAD_SIGNATURE),
    (raw(b"[]"), NOT_JSON),
    (raw(msgspec.json.encode({"jti": "a"}).decode().encode("utf-16")), NOT_JSON),
    (raw(b"\xef\xbb\xbf{}"), NOT_JSON),
    (raw(b'{"jti":"a","jti":"b"}'), NOT_JSON),
    (raw(b'{"jti":"a","jt\\u0069":"b"}'), NOT_JSON),
    (raw(b'{"iat":NaN}'), NOT_JSON),
    (proof_for(TOKEN, omit=["jti"]), ID_INVALID),
    (proof_for(TOKEN, claims={"jti": 7}), ID_INVALID),
    (proof_for(TOKEN, claims={"jti": ""}), ID_INVALID),
    (proof_for(TOKEN, claims={"jti": "x" * 257}), ID_INVALID),
    (proof_for(TOKEN, omit=["iat"]), DATE_INVALID),
    (proof_for(TOKEN, claims={"iat": str(int(NOW))}), DATE_INVALID),
    (proof_for(TOKEN, claims={"iat": NOW + 0.5}), DATE_INVALID),
    (proof_for(TOKEN, claims={"iat": True}), DATE_INVALID),
    (proof_for(TOKEN, claims={"iat": -1}), DATE_INVALID),
    (proof_for(TOKEN, claims={"iat": 10**12}), DATE_INVALID),
    (proof_for(TOKEN, omit=["htm"]), OTHER_METHOD),
    (proof_for(TOKEN, method="GET"), OTHER_METHOD),
    (proof_for(TOKEN, method="post"), OTHER_METHOD),
    (proof_for(TOKEN, claims={"htm": ["POST"]}), OTHER_METHOD),
    (proof_for(TOKEN, omit=["htu"]), OTHER_TARGET),
    (proof_for(TOKEN, claims={"htu": [URL]}), OTHER_TARGET),
    (proof_for(TOKEN, url="https://evil.example/v1/chat/completions"), OTHER_TARGET),
    (proof_for(TOKEN, url=f"{ORIGIN}/v1/models"), OTHER_TARGET),
    (proof_for(TOKEN, url="/v1/chat/completions"), OTHER_TARGET),
    (proof_for(TOKEN, omit=["ath"]), OTHER_TOKEN),
    (proof_for(bound_token(subject="bob")), OTHER_TOKEN),
    (proof_for(TOKEN, claims={"ath": 1}), OTHER_TOKEN),
    (proof_for(TOKEN, claims={"ath": digest(TOKEN).hex()}), OTHER_TOKEN),
    (proof_for(TOKEN, claims={"ath": encode(digest(TOKEN)).decode() + "="}), OTHER_TOKEN),
    (proof_for(TOKEN, claims={"ath": "\u00e9"}), OTHER_TOKEN),
    (proof_for(TOKEN, at=NOW - 61), OLD),
    (proof_for(TOKEN, at=NOW - 10**6), OLD),
    (proof_for(TOKEN, at=NOW + 6), FUTURE),
    (proof_for(TOKEN, name="thief"), KEY_OTHER),
    (proof_for(TOKEN, headers={"jwk": signer("ES256", "thief").public}), KEY_OTHER),
    (proof_for(TOKEN, headers={"alg": "ES384"}), KEY_MISFIT),
    (proof_for(TOKEN, headers={"jwk": HOLDER.public | {"d": "AAAA"}}), KEY_REFUSED),
    (proof_for(TOKEN, headers={"typ": "JWT"}), TYPE_REFUSED),
    (TOKEN, TYPE_REFUSED),
]


@pytest.mark.parametrize(("proof", "expected"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_proof(proof: str | bytes, expected: Refusal) -> None:
    """Each rule of the section has its cases; each is refused under its own reason."""
    assert expected is judge(proof)


def test_the_thief_of_a_key_id_is_no_owner() -> None:
    """The owner's key in the header does not help who cannot sign with it."""
    forged = proof_for(TOKEN, name="thief", headers={"jwk": HOLDER.public})

    assert BAD_SIGNATURE is judge(forged)


@pytest.mark.parametrize("at", [NOW - 60, NOW - 1, NOW, NOW + 5])
def test_clocks_may_be_a_little_apart(at: float) -> None:
    """Sixty seconds back, five ahead."""
    assert isinstance(judge(proof_for(TOKEN, at=at)), Proof)


def test_members_that_nobody_asked_for_mean_nothing() -> None:
    """A nonce where none is demanded, an `exp`, an `iss`: ignored, as RFC 7519 says."""
    proof = proof_for(TOKEN, nonce="anything", claims={"exp": 1, "iss": "x", "more": {"a": [1]}})

    assert isinstance(judge(proof), Proof)


def test_one_name_for_one_use() -> None:
    """The name depends on id, key and URL, and on nothing that a second proof could vary."""
    one = judge(proof_for(TOKEN, claims={"jti": "a"}))
    same = judge(proof_for(TOKEN, claims={"jti": "a", "more": 1}, url=URL + "?x", at=NOW - 9))
    other = judge(proof_for(TOKEN, claims={"jti": "b"}))
    token = bound_token("second")
    of_another = judge(
        proof_for(token, "second", claims={"jti": "a"}), token, signer("ES256", "second").thumbprint
    )

    assert all(isinstance(found, Proof) for found in (one, same, other, of_another))
    assert one.name == same.name
    assert 3 == len({one.name, other.name, of_another.name})


def test_a_mirrored_signature_is_the_same_use() -> None:
    """ECDSA takes (r, s) and (r, -s): a second spelling of the same proof is refused as used, by its name."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    proof = proof_for(TOKEN)
    message, _, signature = proof.rpartition(".")
    octets = urlsafe_b64decode(signature + "==")
    mirrored = octets[:32] + (order - int.from_bytes(octets[32:], "big")).to_bytes(32, "big")
    one, other = judge(proof), judge(f"{message}.{encode(mirrored).decode()}")

    assert isinstance(one, Proof)
    assert one == other


def test_a_missing_nonce_is_asked_for() -> None:
    """RFC 9449, section 9: who proved the key and has no nonce is given one, and it is good."""
    refused = judge(proof_for(TOKEN), nonces=NONCES)

    assert isinstance(refused, Refusal)
    assert (Reason.PROOF_NONCE, "nonce is missing") == (refused.reason, refused.note)
    assert isinstance(judge(proof_for(TOKEN, nonce=refused.nonce), nonces=NONCES), Proof)


@pytest.mark.parametrize(
    "nonce",
    ["", "x", NONCES.make(HOLDER.thumbprint, NOW - 61), NONCES.make("x" * 43, NOW), "A" * 32],
    ids=["empty", "short", "of another key and old", "of another key", "made up"],
)
def test_a_wrong_nonce_is_replaced(nonce: str) -> None:
    """Old ones, those of other keys, and those that nobody made: a fresh one comes with the refusal."""
    refused = judge(proof_for(TOKEN, nonce=nonce), nonces=NONCES)

    assert isinstance(refused, Refusal)
    assert Reason.PROOF_NONCE is refused.reason
    assert NONCES.make(HOLDER.thumbprint, NOW) == refused.nonce


def test_a_nonce_is_a_string() -> None:
    """Anything else was made by no client that understood."""
    assert NONCE_INVALID is judge(proof_for(TOKEN, claims={"nonce": 7}), nonces=NONCES)


def test_nonces_are_for_owners_alone() -> None:
    """Who cannot sign gets no nonce."""
    assert BAD_SIGNATURE is judge(
        proof_for(TOKEN, name="thief", headers={"jwk": HOLDER.public}), nonces=NONCES
    )


@pytest.mark.parametrize(
    "options",
    [
        {"origins": ()},
        {"algorithms": frozenset()},
        {"algorithms": frozenset({"ES256", "HS256"})},
        {"algorithms": frozenset({"none"})},
        {"max_age": 0.0},
        {"max_age": 301.0},
        {"max_age": float("nan")},
        {"ahead": -1.0},
        {"ahead": 61.0},
    ],
)
def test_rules_cannot_be_written_too_wide(options: dict[str, Any]) -> None:
    """Nothing that accepts what nobody meant to accept."""
    with pytest.raises(ValueError, match=r"origin|algorithms|max_age|ahead"):
        rules(**options)


def test_nonce_keys_are_not_the_fleets_secret() -> None:
    """What hides identities in the store makes no nonces by itself."""
    assert Nonces(b"a", 60.0).make("k", NOW) != Nonces(b"b", 60.0).make("k", NOW)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_refused_without_failing(value: bytes) -> None:
    """Whatever stands in the field, there is a reason."""
    assert isinstance(judge(value), Refusal)


@given(st.integers(0, len(NOTHING) - 1), st.sampled_from("AZaz09-_.="))
def test_no_character_can_be_changed(position: int, character: str) -> None:
    """Any other text is another proof, or none."""
    changed = NOTHING[:position] + character + NOTHING[position + 1 :]

    assert changed == NOTHING or isinstance(judge(changed), Refusal)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(["jti", "htm", "htu", "iat", "ath"]), _JSON)
def test_any_other_value_of_a_claim_is_judged(name: str, value: object) -> None:
    """Types are never taken for one another, and nothing fails: only an id may be any short string."""
    found = judge(proof_for(TOKEN, claims={name: value}))

    assert isinstance(found, Refusal) or (name == "jti" and isinstance(value, str))
