"""The whole journey of RFC 9470 with a real identity provider: challenge, sign-in, served."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.challenges import Challenge, parse_all
from tests.e2e.trusting import Trusting
from tests.e2e.world import prompt
from tests.identity_provider import HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.backend import Backend
    from tests.e2e.world import World
    from tests.identity_provider import IdentityProvider

DEMAND = f'authentication: {{acr: ["{HIGH}"], amr: [mfa], max_age: 10m}}'


@pytest.fixture(scope="module")
def demanding(
    world: World, backend: Backend, idp: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trusting]:
    """A gateway that believes the provider, and demands several factors of the last ten minutes."""
    with Trusting(tmp_path_factory.mktemp("demanding"), world, backend, idp, require=DEMAND) as running:
        yield running


def ask(demanding: Trusting, token: str) -> tuple[int, str, list[Challenge]]:
    """Ask the model; return status, public word and challenges."""
    with httpx.Client(verify=demanding.world.context(None), trust_env=False, timeout=20.0) as client:
        answer = client.post(
            f"https://localhost:{demanding.gateway.port}/v1/chat/completions",
            json=prompt("asked by a user of the provider"),
            headers={"authorization": f"Bearer {token}"},
        )
    word = "" if answer.is_success else answer.json()["error"]["code"]
    return answer.status_code, word, parse_all(answer.headers.get_list("www-authenticate"))


def asked_for(challenge: Challenge) -> dict[str, Any]:
    """What a client copies from a challenge into its authorization request (RFC 9470, section 4)."""
    parameters = challenge.parameters
    return {"acr_values": parameters["acr_values"], "max_age": int(parameters["max_age"])}


def test_a_user_steps_up(demanding: Trusting, idp: IdentityProvider) -> None:
    """The parameters of the challenge, sent to the provider as they are, lead to a token that is served."""
    with idp.new_browser() as browser:
        status, word, [challenge] = ask(demanding, idp.sign_in("dora", browser=browser).access_token)
        strong = idp.sign_in("dora", browser=browser, **asked_for(challenge)).access_token

    assert (401, "authentication-insufficient") == (status, word)
    assert {"acr_values": HIGH, "max_age": 600} == asked_for(challenge)
    assert (200, "", []) == ask(demanding, strong)


def test_a_client_that_ignores_the_challenge_is_stopped(demanding: Trusting, idp: IdentityProvider) -> None:
    """A newer token of the same weak session gets 403; the right one passes nevertheless, at once."""
    with idp.new_browser() as browser:
        old = idp.sign_in("erin", browser=browser).access_token
        status, _, [challenge] = ask(demanding, old)
        newer = idp.sign_in("erin", browser=browser, acr_values=LOW).access_token
        ignored, replayed = ask(demanding, newer), ask(demanding, old)
        strong = idp.sign_in("erin", browser=browser, **asked_for(challenge)).access_token

    assert 401 == status == replayed[0]
    assert (403, "authentication-too-weak", []) == ignored
    assert 200 == ask(demanding, strong)[0]


def test_a_session_of_this_morning_is_too_old(demanding: Trusting, idp: IdentityProvider) -> None:
    """A new token of an old session is as old as the session: its age is what the challenge bounds."""
    claims = {"auth_time": int(time.time()) - 3600}
    with idp.new_browser() as browser:
        stale = idp.sign_in("finn", browser=browser, acr_values=HIGH, claims=claims).access_token
        status, _, [challenge] = ask(demanding, stale)
        fresh = idp.sign_in("finn", browser=browser, **asked_for(challenge)).access_token

    assert 401 == status
    assert 200 == ask(demanding, fresh)[0]
