"""Something made from files, made again when they have changed; what was good last stays until then.

Looks at the files' stamps and reads only after a change. A file that cannot be used is said once per
reason and change, and tried with each look: a list that is not valid yet will be, without changing. What was
made before is never replaced by half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Made = TypeVar("Made")
Stamp = tuple[int, int, int] | None


class Report(Protocol):
    """Takes what happened to one watched thing."""

    def __call__(self, name: str, failure: str | None, /) -> None:
        """It was made anew, or could not be: then `failure` says why."""


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@final
class Watched(Generic[Made]):
    """One thing made from files.

    Args:
        name: Shown in the log.
        files: What it is made from.
        make: Makes it.

    Attributes:
        value: The last good one.
        is_failing: True if it had to be made again and the files cannot be used.

    Raises:
        ValueError: The files cannot be used; so does whatever else `make` raises.
    """

    __slots__ = ("_files", "_make", "_seen", "_why", "is_failing", "name", "value")

    def __init__(self, name: str, files: Iterable[Path], make: Callable[[], Made]) -> None:
        self.name = name
        self._files = tuple(files)
        self._make = make
        self._seen = self._stamps()  # before reading: what changes meanwhile is seen next time
        self.value = make()
        self.is_failing = False
        self._why = ""

    def look(self, report: Report, *, is_due: bool = False) -> bool:
        """Make it again if its files have changed, or could not be used when last looked at.

        Args:
            report: Told whether that worked; of a failure once, until files or reason are other ones.
            is_due: Make it again in any case: something else that it is made from has changed.

        Returns:
            True if there is a new one.
        """
        stamps = self._stamps()
        is_new = is_due or stamps != self._seen
        if not is_new and not self.is_failing:
            return False
        self._seen = stamps
        try:
            self.value = self._make()
        except (OSError, ValueError) as failure:
            why = _sentence(failure)
            if is_new or why != self._why:
                report(self.name, why)
            self.is_failing, self._why = True, why
            return False
        self.is_failing = False
        report(self.name, None)
        return True

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(map(_stamp, self._files))


def _sentence(failure: OSError | ValueError) -> str:
    if isinstance(failure, OSError):
        return f"{failure.filename}: {failure.strerror}"
    return str(failure)
