"""Where a model is named beside the body: in the path, in a header. All that is said must agree.

A server that chooses by the path is not asked for another model than the one that the rules were asked about.
Reads names alone; the body is the dialect's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.ports import Inspector
    from gateway.core.prompt import Prompt

PLACEHOLDER: Final = "{model}"

_NAME: Final = re.compile(r"[!-~]{1,256}")
_NO_NAME: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "The model in the path or in the header is no name.", rule="schema"
)
_DIFFERENT: Final = Refusal(
    Reason.SCHEMA_VIOLATION, "Path, header and body name different models.", rule="schema"
)


@final
class Named:
    """Inspector of one dialect, and of the names beside its bodies.

    Args:
        inspector: The dialect's.
        path: The route's pattern; what stands for its segment `{model}` is a name.
        header: Lower-case name of a header that holds a name if it is sent, or None.
    """

    __slots__ = ("_header", "_inspector", "_segment")

    def __init__(self, inspector: Inspector, path: str, header: bytes | None) -> None:
        segments = path[1:].split("/")
        self._inspector = inspector
        self._segment = segments.index(PLACEHOLDER) if PLACEHOLDER in segments else None
        self._header = header

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        """Check the body, then the names; see `gateway.core.ports.Inspector`."""
        verdict = self._inspector(body, call)
        if isinstance(verdict, Refusal):
            return verdict
        names: list[str] = []
        if self._segment is not None:
            names.append(unquote(call.path[1:].split("/")[self._segment]))
        if self._header is not None and (value := call.headers.get(self._header)) is not None:
            names.append(value.decode("latin-1"))
        prompt = verdict[0]
        for name in names:
            if _NAME.fullmatch(name) is None:
                return _NO_NAME
            if prompt.model is None:
                prompt.model = name
            elif prompt.model != name:
                return _DIFFERENT
        return verdict
