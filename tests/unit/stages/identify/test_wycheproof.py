"""Google's Wycheproof JWS vectors, and why we refuse some that they call valid.

None of their invalid vectors is accepted. Valid ones are refused for the reasons in `STRICTER`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.core.refusal import Refusal
from gateway.credentials.jwk import JwksError, parse_set
from gateway.credentials.jwks import Keys
from gateway.credentials.signing import key_set
from gateway.stages.identify.compact import split
from gateway.stages.identify.document import parse
from gateway.stages.identify.jwt import MEANING_CHANGERS
from gateway.stages.identify.signature import ALGORITHMS, check_signature

from .parts import claims, forge, header, signer

VECTORS = Path(__file__).parents[3] / "vectors/wycheproof/json_web_signature_test.json"

SYMMETRIC = "a symmetric key: whoever can verify could sign"
EMPTY = "an empty payload has no claims"
OTHER_ALGORITHM = "the key says PS256 and the token RS256: a key has one algorithm (RFC 8725bis)"
NO_ALGORITHM = "the key names an algorithm that does not exist (ES521)"
LENIENT = "characters outside of base64url are refused, not skipped"

STRICTER = (
    dict.fromkeys((1, 348, 352, 357, 358, 359, 376, 377), SYMMETRIC)
    | dict.fromkeys((259, 264, 268, 272, 320, 325), EMPTY)
    | dict.fromkeys((346, 350), OTHER_ALGORITHM)
    | dict.fromkeys((347, 351), NO_ALGORITHM)
    | dict.fromkeys((372, 373), LENIENT)
)


def is_accepted(keys: Keys, token: str) -> bool:
    """Verify as `jwt` does, without what only claims can tell."""
    parts = split(token.encode())
    if isinstance(parts, Refusal):
        return False
    members = parse(parts.header)
    if isinstance(members, Refusal) or not MEANING_CHANGERS.isdisjoint(members):
        return False
    algorithm, kid = members.get("alg"), members.get("kid")
    if algorithm not in ALGORITHMS:
        return False
    key = keys.find(kid, algorithm)
    return key is not None and check_signature(algorithm, key, parts.signed, parts.signature) is None


def published(group: dict[str, dict[str, object]]) -> Keys:
    """The keys of one group as an issuer would publish them; a secret one gives none."""
    source = group.get("public") or group["private"]
    try:
        return Keys(parse_set(msgspec.json.encode(source if "keys" in source else {"keys": [source]})))
    except JwksError:
        return Keys()


def test_the_judge_accepts_good_tokens() -> None:
    """The judge of this file is no judge that refuses everything."""
    keys = Keys(parse_set(key_set(signer())))

    assert is_accepted(keys, forge(header(), claims()))
    assert not is_accepted(keys, forge(header(crit=["x"]), claims()))
    assert not is_accepted(Keys(), forge(header(), claims()))


def test_vectors() -> None:
    """Every vector is decided as Wycheproof says, but for the explained ones."""
    groups = msgspec.json.decode(VECTORS.read_bytes())["testGroups"]
    assert sum(len(group["tests"]) for group in groups) > 300
    for group in groups:
        keys = published(group)
        for test in group["tests"]:
            is_expected = test["result"] == "valid" and test["tcId"] not in STRICTER

            assert is_expected == is_accepted(keys, test["jws"]), test["tcId"]
