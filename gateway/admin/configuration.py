"""What operators may do about the configuration: see which one decides, and have it read again.

Never takes a configuration from the network: what is read is the file that the gateway was started with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, final

import msgspec
from aiohttp import hdrs, web

from gateway.admin.calls import caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.errors import Problem

_encode: Final = msgspec.json.Encoder().encode


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one attempt to change the configuration.

    Args:
        outcome: Whether it was taken; "unchanged": there was nothing to take.
        version: What decides now.
        previous: What decided before.
        problems: Everything for which it was refused.
    """

    outcome: Literal["accepted", "unchanged", "refused"]
    version: str
    previous: str
    problems: tuple[Problem, ...] = ()


class Configuration(Protocol):
    """What stands behind this API."""

    def state(self) -> Mapping[str, object]:
        """Return which configuration decides, since when, and why the last one was refused."""

    async def reload(self, by: str) -> Verdict:
        """Read the file again, and let it decide if all is well with it.

        Args:
            by: Who wants that.
        """


def add_configuration(app: web.Application, configuration: Configuration, *, has_token: bool) -> None:
    """Add the paths of this API.

    Args:
        app: The application of the admin listener; its guard asks for the token.
        configuration: What stands behind it.
        has_token: Whether the guard asks for one: otherwise nobody proves who calls.
    """

    async def state(_request: web.Request) -> web.Response:
        return _answer(configuration.state(), 200)

    async def reload(request: web.Request) -> web.Response:
        if hdrs.ORIGIN in request.headers:
            title = "Not for browsers"
            return _answer(
                {"title": title, "status": 403, "detail": "A request with an Origin changes nothing here."},
                403,
            )
        verdict = await configuration.reload(caller(request, has_token=has_token))
        shown = {
            "outcome": verdict.outcome,
            "version": verdict.version,
            "previous": verdict.previous,
            "problems": [shown_problem(one) for one in verdict.problems],
        }
        if verdict.outcome != "refused":
            return _answer(shown, 200)
        detail = "The file may not be run; the configuration that decided before still does."
        return _answer({"title": "Not reloaded", "status": 422, "detail": detail, **shown}, 422)

    app.router.add_get("/v1/configuration", state)
    app.router.add_post("/v1/configuration/reload", reload)


def shown_problem(problem: Problem) -> dict[str, object]:
    """Return a problem as operators are shown it, secrets blotted out."""
    return {
        "place": f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file,
        "text": problem.text,
        "message": problem.message,
        "mend": problem.mend,
    }


def _answer(value: Mapping[str, object], status: int) -> web.Response:
    kind = "application/json" if status == 200 else "application/problem+json"  # noqa: PLR2004 - OK
    return web.Response(body=_encode(value), status=status, content_type=kind)
