"""Server-side scripts."""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path
from typing import final


@final
class Script:
    """One Lua script.

    Args:
        name: File name in `lua/`, without its ending.
    """

    __slots__ = ("digest", "text")

    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()  # what EVALSHA names it by
