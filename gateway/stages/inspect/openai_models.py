"""OpenAI model list: `GET /v1/models` and `GET /v1/models/{model}`.

Decides that there is no body. Which models an identity may see is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from gateway.core.call import Call

NAME: Final = "openai.models"

_UNEXPECTED: Final = Refusal(Reason.BODY_UNEXPECTED, "This request takes no body.")


@final
class OpenAiModels:
    """Inspector of requests that have no body."""

    __slots__ = ()

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:  # noqa: ARG002 -- the port
        """Refuse any body; see `gateway.core.ports.Inspector`."""
        return _UNEXPECTED if body else (Prompt(), b"", b"")
