"""The operators' view of the configuration, and their way to have it read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.admin import AdminSources, build_admin
from gateway.admin.configuration import Verdict
from gateway.config.errors import Problem
from gateway.credentials.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = {"authorization": "Bearer correct-horse"}
WRONG = Problem("g.yaml", 3, 4, "x", "this is wrong", "mend it", "the whole line")


class Configuration:
    """What stands behind the API."""

    def __init__(self) -> None:
        self.outcome: Literal["accepted", "unchanged", "refused"] = "accepted"
        self.asked: list[str] = []

    def state(self) -> dict[str, object]:
        return {"version": "v1"}

    async def reload(self, by: str) -> Verdict:
        self.asked.append(by)
        return Verdict(self.outcome, "v2", "v1", (WRONG,) if self.outcome == "refused" else ())


@pytest.fixture
def configuration() -> Configuration:
    """One that does as it is told."""
    return Configuration()


@pytest.fixture
async def client(configuration: Configuration) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the admin listener."""
    sources = AdminSources(
        readiness=dict, metrics=bytes, keys=dict, status=dict, operations=None, clock=SystemClock(),
        configuration=configuration,
    )  # fmt: skip
    async with TestClient(TestServer(build_admin(sources, token="correct-horse"))) as made:
        yield made


@pytest.mark.parametrize("outcome", ["accepted", "unchanged"])
async def test_it_is_read_again(
    client: TestClient[Any, Any], configuration: Configuration, outcome: Any
) -> None:
    """For whom, is known by the digest of the token; the answer says what decides now."""
    configuration.outcome = outcome
    answer = await client.post("/v1/configuration/reload", headers=TOKEN)
    shown = await client.get("/v1/configuration", headers=TOKEN)

    assert (200, {"outcome": outcome, "version": "v2", "previous": "v1", "problems": []}) == (
        answer.status,
        await answer.json(),
    )
    assert {"version": "v1"} == await shown.json()
    assert configuration.asked[0].startswith("operator token ")
    assert "from 127.0.0.1" in configuration.asked[0]
    assert "correct-horse" not in configuration.asked[0]


async def test_everything_that_is_wrong_is_answered(
    client: TestClient[Any, Any], configuration: Configuration
) -> None:
    """Place, text, message and mend."""
    configuration.outcome = "refused"
    answer = await client.post("/v1/configuration/reload", headers=TOKEN)
    document = await answer.json()

    assert (422, "application/problem+json") == (answer.status, answer.content_type)
    assert [{"place": "g.yaml:3:4", "text": "x", "message": "this is wrong", "mend": "mend it"}] == document[
        "problems"
    ]


async def test_who_may_not(client: TestClient[Any, Any], configuration: Configuration) -> None:
    """Nobody without the token, and no web page in somebody's browser."""
    unproven = [
        (await client.post("/v1/configuration/reload")).status,
        (await client.get("/v1/configuration")).status,
    ]
    page = await client.post("/v1/configuration/reload", headers={**TOKEN, "origin": "https://evil.example"})

    assert [401, 401] == unproven
    assert 403 == page.status
    assert [] == configuration.asked
