"""The detectors by the names that the configuration uses. A new one is one file and one line here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gateway.stages.score.denied_probing import DeniedProbing
from gateway.stages.score.malformed_burst import MalformedBurst

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.ports import Detector

DETECTORS: Final[Mapping[str, Callable[[], Detector]]] = MappingProxyType(
    {detector.name: detector for detector in (DeniedProbing, MalformedBurst)}
)
"""Names to factories."""
