"""Server-side scripts."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final, final

DIRECTORY: Final = Path(__file__).with_name("lua")

DIGEST_LENGTH: Final = 40
"""Characters of a script's name on a server: SHA-1 in hexadecimal."""

BY_DIGEST: Final = b"$7\r\nEVALSHA\r\n$40\r\n"
"""How a call by digest goes on after its number of words."""


@final
class Script:
    """One Lua script.

    Args:
        name: File name in `lua/`, without its ending.

    Attributes:
        digest: Its name on a server that has it.
        text: What it says.
    """

    __slots__ = ("digest", "text")

    def __init__(self, name: str) -> None:
        self.text = DIRECTORY.joinpath(f"{name}.lua").read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()  # what EVALSHA names it by


@cache
def texts() -> dict[bytes, bytes]:
    """Return the text of every script there is, by its digest."""
    scripts = [Script(path.stem) for path in DIRECTORY.glob("*.lua")]
    return {script.digest: script.text for script in scripts}


def inlined(command: bytes) -> bytes:
    """Return a packed call by digest as one that brings the text along; the other words stay the same.

    What a server needs that refuses to load scripts. Any other command is returned as it is.
    """
    count, _, rest = command.partition(BY_DIGEST)
    is_first = count.count(b"\r\n") == 1  # the name of the command, not data
    text = texts().get(rest[:DIGEST_LENGTH]) if is_first else None
    if text is None:
        return command
    return b"%b$4\r\nEVAL\r\n$%d\r\n%b%b" % (count, len(text), text, rest[DIGEST_LENGTH:])
