"""The supervisor's chain: what happened to workers, what was done to all, and where their chains end.

The same file, the same format and the same lock as the log of a gateway without workers, whose chain it
continues; so a second gateway on the same log is kept out either way. Every write ends in a checkpoint,
where there is a key. Writes are rare and block: call them off the loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, final

import msgspec

from gateway.observe.chain import Kind, link, sign
from gateway.observe.chains import Pin, Statement
from gateway.observe.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.core.ports import Clock
    from gateway.observe.audit import Signer
    from gateway.observe.chain import Head


@final
class Ledger:
    """One chain over all others.

    Args:
        path: The configured audit log.
        clock: For times.
        signer: Signs; without it statements are chained, not signed.
        max_bytes: Size at which a file is set aside, bytes.

    Raises:
        AuditBroken: The file cannot be opened, is in use, or does not end in a valid line.
    """

    def __init__(
        self, path: Path, *, clock: Clock, signer: Signer | None = None, max_bytes: int = 256 * 1024 * 1024
    ) -> None:
        self._clock = clock
        self._signer = signer
        self._max_bytes = max_bytes
        self._journal = Journal(path)
        self._waiting = [(Kind.EVENT, payload) for payload in self._journal.events]
        self._stated: dict[str, Head] = {}

    def note(self, event: str, **facts: int | str) -> None:
        """Keep something that happened, for the next `write`."""
        payload = msgspec.json.encode({"event": event, "time": self._now(), **facts})
        self._waiting.append((Kind.EVENT, payload))

    def act(self, action: bytes) -> None:
        """Keep what somebody did, for the next `write`: see `observe.action`."""
        self._waiting.append((Kind.ACTION, action))

    def is_due(self, heads: Mapping[str, Head]) -> bool:
        """Tell whether there is anything that the chain does not say yet."""
        return bool(self._waiting) or dict(heads) != self._stated

    def write(self, heads: Mapping[str, Head]) -> None:
        """Write what was noted, and where every chain ends; on disk when it returns.

        Args:
            heads: By name of the file. Chains without a line are left out.

        Raises:
            OSError: It is not on disk; call again.
        """
        count = len(self._waiting)
        pins = [Pin(name, head.seq, head.hash.hex()) for name, head in heads.items() if head.seq]
        payloads = self._waiting[:count]
        if pins:
            payloads.append((Kind.EVENT, msgspec.json.encode(Statement(self._now(), pins))))
        head, lines = self._journal.head, []
        for kind, payload in payloads:
            head, line = link(head, kind, payload)
            lines.append(line)
        if self._signer is not None and lines:
            signed = sign(head, self._now(), self._signer.key, self._signer.key_id)
            head, line = link(head, Kind.CHECKPOINT, signed)
            lines.append(line)
        if lines:
            self._journal.write(b"".join(lines), head)
        del self._waiting[:count]  # what was noted meanwhile stays
        self._stated = dict(heads)
        if self._journal.size >= self._max_bytes:
            self._journal.rotate()

    def close(self) -> None:
        """Release the file."""
        self._journal.close()

    def _now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock.wall()))
