"""What this process knows to be revoked, indexed: a look-up per property of an identity, and no I/O.

Implements `core.ports.Revocations`. Whoever keeps it (a journal, a replica of the fleet's store) tells it
what changed; it tells those who asked to be told. Until its keeper says that everything that is known is
in it, and whenever that was too long ago, or something had to be left out, it is not current, and nobody
may be believed.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Final, final

from gateway.core.revocation import Lift, Revocation, Target, voids
from gateway.state.sealing import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.core.identity import Identity
    from gateway.core.ports import Clock

CAPACITY: Final = 200_000  # about 100 MB
MAX_PATTERNS: Final = 1000  # each is asked for each identity: 0.2 us

Change = Revocation | Lift
Tables = dict[Target, dict[str, dict[str, Revocation]]]


@final
class Pattern:
    """A pattern in which `*` stands for any characters. Anchored, case-sensitive, linear in the text."""

    __slots__ = ("_parts", "head")

    def __init__(self, pattern: str) -> None:
        self._parts = tuple(pattern.split("*"))
        self.head = self._parts[0]
        """What every text that fits begins with."""

    def matches(self, text: str) -> bool:
        """Tell whether a text fits; with `*` as the only wildcard the first fit is as good as any."""
        parts = self._parts
        first, last = parts[0], parts[-1]
        if len(parts) == 1:
            return text == first
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for part in parts[1:-1]:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


@final
class RevocationIndex:
    """All revocations that hold, in memory.

    Args:
        clock: Time: dates of ends by its wall clock, freshness by its ticks.
        capacity: Most revocations and lifts that are held.
        bound: Seconds after which what was heard is too old to be believed; None if there is nobody
            else to hear from.
    """

    __slots__ = (
        "_bound",
        "_capacity",
        "_claims",
        "_clock",
        "_ends",
        "_headed",
        "_heads",
        "_held",
        "_is_complete",
        "_latest",
        "_listeners",
        "_loose",
        "_patterns",
        "_tables",
        "heard_at",
        "left_out",
        "version",
    )

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY, bound: float | None = None) -> None:
        self._clock = clock
        self._capacity = capacity
        self._bound = bound
        self._held: dict[str, Revocation] = {}
        self._latest: dict[str, Change] = {}
        self._claims: dict[str, Counter[str]] = {}  # names of claims that matter, by issuer
        self._tables: Tables = {target: {} for target in Target if target is not Target.IDENTITY}
        self._patterns: dict[str, tuple[Pattern, Revocation]] = {}
        self._heads: tuple[str, ...] = ()
        self._headed: tuple[tuple[Pattern, Revocation], ...] = ()  # patterns that begin with text
        self._loose: tuple[tuple[Pattern, Revocation], ...] = ()  # those that begin with a star
        self._ends: list[tuple[float, str]] = []
        self._listeners: list[Callable[[tuple[Change, ...]], None]] = []
        self._is_complete = False
        self.heard_at = float("-inf")
        self.left_out = 0  # changes for which there was no room: while there are any, nobody is believed
        self.version = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Revocation]:
        """Go through the revocations that hold, oldest knowledge first."""
        return iter(tuple(self._held.values()))

    # -- core.ports.Revocations -----------------------------------------------------------------------

    @property
    def is_current(self) -> bool:
        """False before everything is known, and whenever what is known may be older than the bound."""
        if not self._is_complete or self.left_out:
            return False
        return self._bound is None or self.staleness < self._bound

    def find(self, identity: Identity, /) -> Revocation | None:
        """Return a revocation that voids an identity, or None."""
        if not self._held:
            return None
        names = _names(identity)
        if self._claims:
            names += _claims(identity, self._claims.get(identity.issuer, NO_CLAIMS))
        for target, value in names:
            for revocation in self._tables[target].get(value, NONE).values():
                if voids(revocation, identity):
                    return revocation
        return self._find_pattern(identity) if self._patterns else None

    def _find_pattern(self, identity: Identity) -> Revocation | None:
        key, spiffe_id = identity.key, identity.spiffe_id or identity.key
        # most are about others, and their beginnings say so: one comparison in C for all of them
        could_fit = key.startswith(self._heads) or spiffe_id.startswith(self._heads)
        for pattern, revocation in (*self._loose, *self._headed) if could_fit else self._loose:
            is_meant = pattern.matches(key) or pattern.matches(spiffe_id)
            if is_meant and voids(revocation, identity):
                return revocation
        return None

    # -- for who keeps it -------------------------------------------------------------------------------

    @property
    def staleness(self) -> float:
        """Seconds since the rest of the fleet was last heard; 0 where there is none."""
        return 0.0 if self._bound is None else self._clock.tick() - self.heard_at

    def complete(self) -> None:
        """Say that everything that can be known is in here."""
        self._is_complete = True

    def hear(self, at: float) -> None:
        """Say that nothing was left unheard at a tick of the clock."""
        self.heard_at = at

    def subscribe(self, listener: Callable[[tuple[Change, ...]], None]) -> None:
        """Call a function with every change, in the same turn; it must not raise and not wait."""
        self._listeners.append(listener)

    def room(self, changes: Iterable[Change]) -> bool:
        """Tell whether changes would fit."""
        more = patterns = 0
        for change in changes:
            if change.id not in self._latest:
                more += 1
                patterns += isinstance(change, Revocation) and change.target is Target.IDENTITY
        return len(self._latest) + more <= self._capacity and len(self._patterns) + patterns <= MAX_PATTERNS

    def apply(self, changes: Iterable[Change], /) -> tuple[Change, ...]:
        """Take changes over, in any order and any number of times: of one id, the latest counts.

        What does not fit is left out, and this index is not current from then on: see `room`.

        Returns:
            Those that were news.
        """
        now = self._clock.wall()
        news = tuple([change for change in changes if self._take(change, now)])
        if news:
            self._changed(news)
        return news

    def end(self) -> tuple[str, ...]:
        """Forget what has ended by now; returns the ids."""
        now, ended = self._clock.wall(), []
        while self._ends and self._ends[0][0] <= now:
            name = heapq.heappop(self._ends)[1]
            latest = self._latest.get(name)
            if latest is not None and latest.expires is not None and latest.expires <= now:
                self._drop(name)
                ended.append(name)
        if ended:
            self._changed(())
        return tuple(ended)

    def get(self, id: str) -> Revocation | None:
        """Return the revocation of an id that holds, or None."""
        return self._held.get(id)

    def knows(self, change: Change) -> bool:
        """Tell whether a change is in here, or has been overtaken."""
        latest = self._latest.get(change.id)
        return latest is not None and _rank(change) <= _rank(latest)

    def everything(self) -> list[Change]:
        """Return all that is known: revocations that hold, and lifts that must be remembered."""
        return list(self._latest.values())

    def _take(self, change: Change, now: float) -> bool:
        if change.expires is not None and change.expires <= now:
            return False
        if self.knows(change):
            return False
        if not self.room((change,)):
            self.left_out += 1
            return False
        self._drop(change.id)
        self._latest[change.id] = change
        if isinstance(change, Revocation):
            self._put(change)
        if change.expires is not None:
            heapq.heappush(self._ends, (change.expires, change.id))
        return True

    def _put(self, revocation: Revocation) -> None:
        self._held[revocation.id] = revocation
        target, value = revocation.target, revocation.value
        if target is Target.IDENTITY:
            self._patterns[revocation.id] = (Pattern(value), revocation)
            self._note_heads()
            return
        if target is Target.CLAIM:
            issuer, _, rest = value.partition("|")
            self._claims.setdefault(issuer, Counter())[rest.partition("|")[0]] += 1
        self._tables[target].setdefault(value, {})[revocation.id] = revocation

    def _drop(self, id: str) -> None:
        self._latest.pop(id, None)
        revocation = self._held.pop(id, None)
        if revocation is None:
            return
        target, value = revocation.target, revocation.value
        if target is Target.IDENTITY:
            del self._patterns[id]
            self._note_heads()
            return
        if target is Target.CLAIM:
            issuer, _, rest = value.partition("|")
            self._claims[issuer] -= Counter({rest.partition("|")[0]: 1})  # what none is left of is dropped
            if not self._claims[issuer]:
                del self._claims[issuer]
        table = self._tables[target]
        same = table[value]
        del same[id]
        if not same:
            del table[value]

    def _note_heads(self) -> None:
        patterns = tuple(self._patterns.values())
        self._loose = tuple([each for each in patterns if not each[0].head])
        self._headed = tuple([each for each in patterns if each[0].head])
        self._heads = tuple({pattern.head for pattern, _ in self._headed})

    def _changed(self, news: tuple[Change, ...]) -> None:
        self.version += 1
        for listener in self._listeners:
            listener(news)


NONE: Final[dict[str, Revocation]] = {}
NO_CLAIMS: Final[Counter[str]] = Counter()


def _rank(change: Change) -> tuple[float, bool, bytes]:
    """Order changes of one id: the later one counts, of two at the same time a lift; else any, everywhere."""
    return change.at, isinstance(change, Lift), write(change)


def _claims(identity: Identity, names: Iterable[str]) -> list[tuple[Target, str]]:
    """Return the names by which a claim of a token can mean an identity."""
    texts = [(name, identity.claims.get(name)) for name in names]
    return [
        (Target.CLAIM, f"{identity.issuer}|{name}|{text.lower()}")
        for name, text in texts
        if isinstance(text, str)
    ]


def _names(identity: Identity) -> list[tuple[Target, str]]:
    """Return every name by which a revocation can mean an identity, patterns apart."""
    issuer = identity.issuer
    names = [(Target.SUBJECT, identity.key)]
    if identity.token is not None:
        names.append((Target.TOKEN, identity.token))
    if identity.token_id is not None:
        names.append((Target.TOKEN, f"{issuer}|{identity.token_id}"))
    if identity.client_id is not None:
        names.append((Target.CLIENT, f"{issuer}|{identity.client_id}"))
    if identity.proof_key is not None:
        names.append((Target.KEY, identity.proof_key))
    if identity.key_id is not None:
        names.append((Target.KEY, identity.key_id))
    if identity.signing_key is not None:
        names.append((Target.KEY, f"{issuer}|{identity.signing_key}"))
    if identity.certificate is not None:
        names.append((Target.CERTIFICATE, identity.certificate))
    if identity.session is not None:
        names.append((Target.SESSION, f"{issuer}|{identity.session}"))
    return names
