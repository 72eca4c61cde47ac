"""What every 401 tells a client: schemes, errors, and nothing to who tried nothing."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal, StepUp
from gateway.stages.refuse import Problems
from gateway.stages.refuse.challenges import Scheme, tried
from gateway.stages.refuse.public import PUBLIC, Challenge
from tests.challenges import challenges_of, fields_of, parse, parse_all
from tests.unit.observe.exchanges import ALICE, arrived, malformed, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

METADATA = "https://gateway.example.org/.well-known/oauth-protected-resource"
ALGORITHMS = ("ES256", "EdDSA")
DETAIL = 'The token is "odd" \\ old.'
AUTHORIZATIONS = (None, "Bearer x", "bEARER x", "Bearer", "DPoP x", "dpop x", "Basic eA==", "Bearers x", "")


def head(
    refusal: Refusal,
    authorization: str | None = "Bearer x",
    *,
    algorithms: Sequence[str] = (),
    metadata: str = "",
    realm: str = "models",
) -> bytes:
    """Render the field lines of a refusal."""
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    ex = refused(refusal, identity=ALICE, headers=headers)
    problems = Problems("urn:", realm, lambda *found: None, algorithms=algorithms, metadata=metadata)
    return problems.render(ex, refusal)[1]


def values(*arguments: object, **more: object) -> list[str]:
    """Return the values of `WWW-Authenticate`, in order."""
    fields = fields_of(head(*arguments, **more))  # type: ignore[arg-type]
    return [value for name, value in fields if name == "WWW-Authenticate"]


@pytest.mark.parametrize("reason", Reason)
def test_every_401_is_a_list_of_challenges_that_clients_can_read(reason: Reason) -> None:
    """RFC 9110, sections 11.6.1 and 15.5.2: one challenge per scheme, errors on the scheme tried alone."""
    entry = PUBLIC[reason]
    refusal = Refusal(
        reason, DETAIL, scopes=("a", "b"), step_up=StepUp(("urn:x", "urn:y"), 300), nonce="bm9uY2U"
    )
    for authorization, algorithms, metadata in product(AUTHORIZATIONS, ((), ALGORITHMS), ("", METADATA)):
        found = challenges_of(head(refusal, authorization, algorithms=algorithms, metadata=metadata))
        if entry.status != 401:
            assert (reason is Reason.SCOPE_MISSING) == bool(found)
            continue

        names = [challenge.scheme for challenge in found]
        scheme = (authorization or "").partition(" ")[0].lower()
        was_tried = scheme in {name.lower() for name in names} and entry.challenge is not Challenge.PLAIN
        assert {"Bearer", *(["DPoP"] if algorithms else [])} == set(names)
        assert [metadata] * len(found) == [one.parameters.get("resource_metadata", "") for one in found]
        assert [name == "DPoP" for name in names] == ["algs" in one.parameters for one in found]
        assert was_tried == ("error" in found[0].parameters)
        assert scheme == names[0].lower() or not was_tried
        assert (was_tried and not entry.is_silent) == ("error_description" in found[0].parameters)


@pytest.mark.parametrize(
    "reason",
    [Reason.CREDENTIAL_MISSING, Reason.CREDENTIAL_SCHEME, Reason.TOKEN_REQUIRED, Reason.CERTIFICATE_EXPIRED],
)
@pytest.mark.parametrize("authorization", [None, "Bearer x"])
def test_who_sent_no_wrong_token_reads_no_error(reason: Reason, authorization: str | None) -> None:
    """RFC 6750, section 3: no error code and no other information where no credential could be wrong."""
    assert values(Refusal(reason, DETAIL), authorization) == ['Bearer realm="models"']


def test_the_fields_of_an_expired_token() -> None:
    """RFC 6750, section 3: the example's form, with a realm."""
    refusal = Refusal(Reason.TOKEN_EXPIRED, "The token has expired.")

    error = 'error="invalid_token", error_description="The token has expired."'

    assert values(refusal, metadata=METADATA, algorithms=ALGORITHMS) == [
        f'Bearer realm="models", {error}, resource_metadata="{METADATA}"',
        f'DPoP realm="models", algs="ES256 EdDSA", resource_metadata="{METADATA}"',
    ]


def test_the_fields_of_the_step_up_challenge() -> None:
    """RFC 9470, section 3: under the scheme that was used, with classes and age, and scopes if also lacking."""
    refusal = Refusal(
        Reason.STEP_UP_REQUIRED,
        "A different authentication level is required",
        step_up=StepUp(("urn:example:gold", "urn:example:silver"), 300),
    )
    error = (
        'error="insufficient_user_authentication", '
        'error_description="A different authentication level is required", '
        'acr_values="urn:example:gold urn:example:silver", max_age="300"'
    )

    assert values(refusal) == [f'Bearer realm="models", {error}']
    assert values(refusal, "DPoP x", algorithms=ALGORITHMS) == [
        f'DPoP realm="models", {error}, algs="ES256 EdDSA"',
        'Bearer realm="models"',
    ]


@pytest.mark.parametrize(
    ("step_up", "scopes", "expected"),
    [
        (StepUp(), (), ""),
        (StepUp(("a",)), (), ', acr_values="a"'),
        (StepUp((), 0), (), ', max_age="0"'),
        (StepUp(("a", "b"), 5), ("s", "t"), ', acr_values="a b", max_age="5", scope="s t"'),
        (None, ("s",), ', scope="s"'),
    ],
)
def test_only_what_is_lacking_is_asked_for(
    step_up: StepUp | None, scopes: tuple[str, ...], expected: str
) -> None:
    """Both parameters are optional (RFC 9470, section 3); scopes stand beside them if they lack too."""
    refusal = Refusal(Reason.STEP_UP_REQUIRED, step_up=step_up, scopes=scopes)

    assert values(refusal) == [f'Bearer realm="models", error="insufficient_user_authentication"{expected}']


@pytest.mark.parametrize(
    ("reason", "under_dpop"),
    [(Reason.PROOF_STALE, "invalid_dpop_proof"), (Reason.PROOF_NONCE, "use_dpop_nonce")],
)
def test_errors_of_proofs_stand_on_the_scheme_of_proofs(reason: Reason, under_dpop: str) -> None:
    """RFC 9449, sections 7.1 and 9; a bound token under Bearer is an invalid token there (section 7.2)."""
    refusal = Refusal(reason)

    assert values(refusal, "DPoP x", algorithms=ALGORITHMS) == [
        f'DPoP realm="models", error="{under_dpop}", algs="ES256 EdDSA"',
        'Bearer realm="models"',
    ]
    assert values(refusal, "Bearer x", algorithms=ALGORITHMS) == [
        'Bearer realm="models", error="invalid_token"',
        'DPoP realm="models", algs="ES256 EdDSA"',
    ]
    assert values(refusal, "DPoP x") == ['Bearer realm="models"']


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (("models:chat", "models:list"), ', scope="models:chat models:list"'),
        ((), ""),
        (('a"\\\r\nb',), ', scope="a\\"\\\\??b"'),
    ],
)
@pytest.mark.parametrize("authorization", [None, "Bearer x"])
def test_missing_scopes_are_named(scopes: tuple[str, ...], expected: str, authorization: str | None) -> None:
    """RFC 6750, section 3.1: insufficient_scope is a 403 that names the scopes; nothing can inject a line."""
    refusal = Refusal(Reason.SCOPE_MISSING, scopes=scopes)

    assert values(refusal, authorization, algorithms=ALGORITHMS) == [
        f'Bearer realm="models", error="insufficient_scope"{expected}'
    ]


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if PUBLIC[reason].is_silent and PUBLIC[reason].status == 401]
)
def test_what_is_kept_from_the_body_is_kept_from_the_challenge(reason: Reason) -> None:
    """A forger who reads headers learns no more than one who reads bodies."""
    assert DETAIL not in str(values(Refusal(reason, DETAIL)))
    assert "error_description" not in str(values(Refusal(reason, DETAIL), "DPoP x", algorithms=ALGORITHMS))


def test_refusals_of_forged_and_stolen_tokens_are_byte_identical() -> None:
    """Which check failed, and whether the token was once good, is for the record alone."""
    reasons = (
        Reason.TOKEN_ISSUER_UNKNOWN,
        Reason.TOKEN_TYPE,
        Reason.TOKEN_ALGORITHM,
        Reason.TOKEN_KEY_UNKNOWN,
        Reason.TOKEN_BAD_SIGNATURE,
        Reason.TOKEN_BINDING,
        Reason.TOKEN_INACTIVE,
        Reason.KEY_UNKNOWN,
        Reason.KEY_BINDING,
        Reason.REVOKED,
    )

    assert 1 == len({head(Refusal(reason, reason.value, note="x")) for reason in reasons})


def test_bytes_that_were_no_request_tried_nothing() -> None:
    """There is no call then; whatever is said of it names every scheme."""
    ex = malformed()
    problems = Problems("urn:", "models", lambda *found: None, algorithms=ALGORITHMS)
    found = challenges_of(problems.render(ex, Refusal(Reason.TOKEN_MALFORMED, DETAIL))[1])

    assert [("Bearer", False), ("DPoP", False)] == [(one.scheme, "error" in one.parameters) for one in found]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (b"Bearer x", Scheme.BEARER),
        (b"bearer", Scheme.BEARER),
        (b"Bearer\tx", Scheme.BEARER),
        (b"DPoP x", Scheme.DPOP),
        (b"DPOP", Scheme.DPOP),
        (b"DPoP2 x", None),
        (b"Bearer-x", None),
        (b" Bearer", None),
    ],
)
def test_the_scheme_that_was_tried(authorization: bytes, expected: Scheme | None) -> None:
    """Names of schemes have no case and end where a token ends (RFC 9110, section 11.1)."""
    assert expected is tried(arrived(headers={b"authorization": authorization}).call)
    assert tried(arrived().call) is None


@given(st.text(), st.text(min_size=1), st.text(), st.lists(st.text(), max_size=3), st.text(max_size=20))
def test_nothing_can_break_out_of_a_challenge(
    realm: str, detail: str, scope: str, classes: list[str], metadata: str
) -> None:
    """Whatever a configuration says, the field keeps its grammar."""
    refusal = Refusal(Reason.STEP_UP_REQUIRED, detail, scopes=(scope,), step_up=StepUp(tuple(classes), 1))
    found = challenges_of(head(refusal, realm=f"x{realm}", metadata=metadata, algorithms=ALGORITHMS))

    assert ["Bearer", "DPoP"] == [challenge.scheme for challenge in found]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "Bearer realm",
        'Bearer realm="a" error="b"',
        'Bearer realm="a',
        'Bearer realm="a", realm="b"',
        'Bearer realm="a"x',
        'Bearer realm="a", DPoP realm="b" x',
    ],
)
def test_the_reader_of_these_tests_is_strict(broken: str) -> None:
    """A reader that takes anything would show nothing."""
    with pytest.raises(ValueError, match=r"."):
        parse(broken)


@pytest.mark.parametrize(
    "fields",
    [
        ["Bearer realm=a", "Bearer realm=b"],
        ["Bearer"],
        ["Bearer realm=a", "DPoP realm=a, error=x"],
        ["Bearer realm=a, error=x", "DPoP realm=a, error=x"],
        ["Bearer realm=a, error_description=x"],
        ['Bearer realm=a, error=x, error_description="a\\"b"'],
    ],
)
def test_the_reader_of_these_tests_knows_the_rules(fields: list[str]) -> None:
    """What is well-formed can still be wrong."""
    with pytest.raises(ValueError, match=r"."):
        parse_all(fields)


def test_the_reader_of_these_tests_reads_the_example() -> None:
    """RFC 9110, section 11.6.1: a list of challenges, one without parameters."""
    assert parse('Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\"", Last') == [
        ("Basic", {"realm": "simple"}),
        ("Newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
        ("Last", {}),
    ]
