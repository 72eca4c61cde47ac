"""All workers take a configuration, or none does: proposed to each of them, then decided for all.

Knows how to ask and how to tell them; when, and what becomes of a worker that does not follow, is the
supervisor's business.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.app.door import Purpose, hand_in
from gateway.app.proposal import TAKE, Opinion, Proposal, receive, send
from gateway.config.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app.child import Child

OPINION_SECONDS: Final = 60.0  # for a worker to compile and to fetch what is new
TAKING_SECONDS: Final = 10.0  # for it to say that it has taken it
MEND: Final = "see what this worker says in the log, then reload again; all workers go on as they were"


@final
@dataclass(frozen=True, slots=True)
class _Asked:
    child: Child
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@final
class Agreement:
    """One proposal to all workers.

    Args:
        file: The configuration's file, for messages.
        version: What every worker must come to.
    """

    def __init__(self, file: str, version: str) -> None:
        self._file = file
        self._version = version
        self._asked: list[_Asked] = []
        self._problems: list[Problem] = []

    async def propose(self, children: Sequence[Child], data: bytes) -> None:
        """Have every worker prepare itself.

        Args:
            children: All workers that live.
            data: What stands in the file.

        Raises:
            ConfigurationError: One cannot take it: `discard`.
        """
        async with asyncio.TaskGroup() as asking:
            for child in children:
                asking.create_task(self._ask(child, data))
        if self._problems:
            raise ConfigurationError(dict.fromkeys(self._problems))

    async def commit(self) -> list[Child]:
        """Let every worker take it.

        Returns:
            Those that did not say that they have: what they decide by is not known.
        """
        silent: list[Child] = []
        async with asyncio.TaskGroup() as telling:
            for asked in self._asked:
                telling.create_task(self._tell(asked, silent))
        return silent

    def discard(self) -> None:
        """Have every worker go on as it was."""
        for asked in self._asked:
            asked.writer.close()

    async def _ask(self, child: Child, data: bytes) -> None:
        try:
            connection = hand_in(child.door, Purpose.RELOAD)
        except OSError:
            if child.code is None:  # one that is dead is replaced, by one that is told what is agreed on
                self._object(child, "takes nothing any more")
            return
        try:
            async with asyncio.timeout(OPINION_SECONDS):
                reader, writer = await asyncio.open_connection(sock=connection)
                self._asked.append(_Asked(child, reader, writer))
                await send(writer, Proposal(data))
                opinion = await receive(reader, Opinion)
        except (OSError, EOFError, msgspec.DecodeError):
            if child.is_serving or not child.has_served:  # one that is ending anyway holds nobody up
                self._object(child, "does not answer")
            return
        self._problems += opinion.problems
        if not opinion.problems and opinion.version != self._version:
            self._object(child, "found other schemas than the supervisor")

    async def _tell(self, asked: _Asked, silent: list[Child]) -> None:
        try:
            async with asyncio.timeout(TAKING_SECONDS):
                asked.writer.write(TAKE)
                if await asked.reader.read(1) != TAKE:
                    silent.append(asked.child)
        except OSError:
            silent.append(asked.child)
        asked.writer.close()

    def _object(self, child: Child, why: str) -> None:
        self._problems.append(Problem(self._file, 0, 0, "", f"worker {child.number} {why}", MEND))
