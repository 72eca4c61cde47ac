"""What a worker tells its supervisor, about once a second. A report is also its sign of life."""

from __future__ import annotations

from typing import Any, Final, final

import msgspec

from gateway.observe.families import Family  # noqa: TC001 - msgspec reads the annotation


@final
class Report(msgspec.Struct, kw_only=True):
    """One worker, now.

    Args:
        parts: What serving needs, and whether it is well; `serving` says whether it does.
        status: What `/v1/status` says.
        seq: Number of the last line of its audit chain on disk.
        hash: Hash of that line.
        families: Everything it counted since it began.
    """

    parts: dict[str, bool]
    status: dict[str, Any]
    seq: int
    hash: bytes
    families: list[Family]


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Report).decode
