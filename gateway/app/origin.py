"""Where a process has its configuration from: loads and compiles it, and takes the process' own part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from gateway.app.compilation import compile_settings
from gateway.app.shares import share_of_worker
from gateway.config.load import load_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app.compilation import Compilation
    from gateway.config.load import Loaded
    from gateway.core.ports import Clock


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """A configuration file, and for whom it is compiled.

    Args:
        path: The file; relative paths in it are relative to its directory.
        workers: How many processes will run it together.
        number: The worker that runs it, from 1; 0: all of it is wanted.
    """

    path: Path
    workers: int = 1
    number: int = 0

    def load(self, data: bytes, clock: Clock) -> Loaded:
        """Load what stood in the file.

        Raises:
            ConfigurationError: With everything that is wrong.
        """
        return load_bytes(data, self.path, clock)

    def compile_data(
        self, data: bytes, clock: Clock, held: Compilation | None = None
    ) -> tuple[Loaded, Compilation]:
        """Load and compile what stood in the file.

        Raises:
            ConfigurationError: With everything that is wrong.
        """
        loaded = self.load(data, clock)
        return loaded, self.compile(loaded, clock, held)

    def compile(self, loaded: Loaded, clock: Clock, held: Compilation | None = None) -> Compilation:
        """Compile it. Takes long enough to be done in a thread while a process serves.

        Args:
            loaded: From `load`.
            clock: Time, for the dates of certificates.
            held: What runs; what has not changed is taken over from it.

        Raises:
            ConfigurationError: With everything that is wrong.
        """
        directory = self.path.parent.absolute()
        compiled = compile_settings(loaded, directory, clock, workers=self.workers, held=held)
        return share_of_worker(compiled, self.number, self.workers) if self.number else compiled
