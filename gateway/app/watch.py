"""When what runs is verified again: at every change of the revocations, and four times a second.

Owns the timers and the slices of time; what must end is decided by `vigil`. Whatever goes wrong in one look,
the next one comes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

from gateway.core.revocation import Revocation, Target
from gateway.observe.log import frames

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from gateway.core.revocation import Lift
    from gateway.state.revocations import RevocationIndex
    from gateway.vigil import Round, Vigil
    from gateway.wire.service import Service

GRAIN: Final = 0.25  # seconds between two looks at what is due
URGENT_SLICE: Final = 0.005  # seconds at a time, when somebody was revoked: about a hundred cuts
URGENT_REST: Final = 0.02  # seconds between two such rounds: many revocations share one
SWEEP_SLICE: Final = 0.002  # seconds at a time, when nothing has happened
SWEEP_PAUSE: Final = 0.008  # seconds between two of those: a sweep takes a fifth of the loop at most


@final
class Watch:
    """Keeps watch over one gateway.

    Args:
        vigil: Decides.
        index: Who is revoked.
        service: Its client connections.
        log: Told when nobody can be believed, and when that is over.
    """

    def __init__(
        self, vigil: Vigil, index: RevocationIndex, service: Service, log: FilteringBoundLogger
    ) -> None:
        self._vigil = vigil
        self._index = index
        self._service = service
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._urgent: Round | None = None
        self._is_urgent_again = False
        self._rest: asyncio.TimerHandle | None = None
        self._sweep: Round | None = None
        self._was_current = True
        index.subscribe(self._changed)

    def start(self) -> None:
        """Begin."""
        self._timer = self._loop.call_later(GRAIN, self._tick)

    def stop(self) -> None:
        """End: what still runs is cut off by whoever drains."""
        for timer in (self._timer, self._pause, self._rest):
            if timer is not None:
                timer.cancel()

    def _changed(self, news: tuple[Revocation | Lift, ...]) -> None:
        """Look at everybody now: not in this very turn, for a line may be on its way through here."""
        certificates = frozenset(
            change.value
            for change in news
            if isinstance(change, Revocation) and change.target is Target.CERTIFICATE
        )
        if certificates:
            self._service.retire(
                lambda peer: peer.certificate is not None and peer.certificate.fingerprint in certificates
            )
        if any(isinstance(change, Revocation) for change in news):
            self._look_now()

    def _look_now(self) -> None:
        if self._urgent is not None or self._rest is not None:
            self._is_urgent_again = True  # once more, after this round
            return
        self._urgent = self._vigil.urgent()
        self._loop.call_soon(self._go_on_urgently)

    def _go_on_urgently(self) -> None:
        if self._urgent is None:
            return
        if self._step(self._urgent, URGENT_SLICE):
            self._loop.call_soon(self._go_on_urgently)
            return
        self._urgent = None
        if self._is_urgent_again:  # in a short while, for all that comes until then
            self._is_urgent_again = False
            self._rest = self._loop.call_later(URGENT_REST, self._rested)

    def _rested(self) -> None:
        self._rest = None
        self._is_urgent_again = False
        self._look_now()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(GRAIN, self._tick)
        self._index.end()
        is_current = self._index.is_current
        if not is_current:
            self._look_now()
        if is_current is not self._was_current:
            self._was_current = is_current
            if is_current:
                self._log.info("revocations-current")
            else:
                staleness = round(min(self._index.staleness, 1e9), 3)
                self._log.error(
                    "revocations-stale",
                    seconds=staleness,
                    mend="everybody is refused; see docs/revocation.md",
                )
        if self._sweep is None:
            self._sweep = self._vigil.sweep()
            self._go_on()

    def _go_on(self) -> None:
        if self._sweep is None:
            return
        if self._step(self._sweep, SWEEP_SLICE):
            self._pause = self._loop.call_later(SWEEP_PAUSE, self._go_on)
        else:
            self._sweep = None

    def _step(self, looking: Round, seconds: float) -> bool:
        try:
            return looking.step(seconds)
        except Exception as fault:  # noqa: BLE001 - our bug, in one exchange: the others are looked at
            self._log.error("fault", fault=type(fault).__qualname__, frames=frames(fault))
            return True
