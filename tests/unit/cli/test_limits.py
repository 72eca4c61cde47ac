"""`gateway limits`, against a real listener in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.admin.limits import NoSuchLimit, NotForgivable, Order, Row, Taken, Untold
from gateway.cli import main
from gateway.core.accounts import Standing
from gateway.core.ports import StoreUnavailable
from tests.unit.cli.test_revoke import CONFIGURATION, Fleet, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

KEY = "https://idp.example.org|ada"
Run = tuple[int, str, str]


class Accounts:
    """What stands behind the listener."""

    def __init__(self) -> None:
        self.rows = [
            Row("chat/tokens 100000/day", "tokens", 100000, Standing(99000, 1000, 3725.2)),
            Row("all cost 500/month UTC", "cost", 500_000_000, Standing(0, 0, 0.0)),
            Row("chat/\x1b[31mstreams", "streams", 2, Standing(0, 1, 0.0)),
        ]
        self.untold = [Untold("chat/tokens 9/day per identity, model", ("model", "claim:team"))]
        self.taken: list[Taken] = [Taken("chat/tokens 100000/day", "tokens", 15)]
        self.asked: list[Any] = []
        self.fails: Exception | None = None

    async def show(self, key: str, known: Mapping[str, str], /) -> tuple[list[Row], list[Untold]]:
        self.asked.append((key, known))
        if self.fails is not None:
            raise self.fails
        return self.rows, self.untold

    async def forgive(self, order: Order, by: str, /) -> tuple[list[Taken], list[Untold]]:
        self.asked.append(order)
        if self.fails is not None:
            raise self.fails
        return self.taken, self.untold


@pytest.fixture
def accounts() -> Accounts:
    """Accounts that do what they are told."""
    return Accounts()


@pytest.fixture
def limits(
    accounts: Accounts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Run]]:
    """Run `gateway limits` against them; returns exit code, output and errors."""
    with listening(Fleet(), limits=accounts) as port:
        path = tmp_path / "gateway.yaml"
        path.write_text(
            CONFIGURATION.format(admin=f"{{listen: '127.0.0.1:{port}'}}", state="{url: 'memory://'}")
        )

        def run(*arguments: str) -> Run:
            code = main(["limits", *arguments, "--config", str(path)])
            said = capsys.readouterr()
            return code, said.out, said.err

        yield run


def test_a_table_for_people(limits: Callable[..., Run], accounts: Accounts) -> None:
    """Names as `--limit` takes them, numbers in columns, controls escaped; what was not looked at is said."""
    code, out, _ = limits("show", KEY, "--with", "role=a", "--with", "network=10.0.0.1")
    lines = out.splitlines()

    assert 0 == code
    assert [(KEY, {"role": "a", "network": "10.0.0.1"})] == accounts.asked
    assert KEY == lines[0]
    assert ["limit", "unit", "quota", "used", "held", "left", "whole", "in"] == lines[1].split()
    assert (
        "chat/tokens 100000/day  tokens                 100000  99000  1000          0     1h 2m" == lines[2]
    )
    assert (
        "all cost 500/month UTC  millionths of cost  500000000      0     0  500000000         -" == lines[3]
    )
    assert lines[4].startswith("chat/\\x1b[31mstreams")
    assert (
        "not looked at: chat/tokens 9/day per identity, model; say --with model=... --with claim:team=..."
        == lines[5]
    )


def test_json_for_scripts(limits: Callable[..., Run]) -> None:
    """What the listener said, as one document."""
    code, out, _ = limits("show", KEY, "--json")
    document = msgspec.json.decode(out)

    assert 0 == code
    assert {
        "limit": "chat/tokens 100000/day", "unit": "tokens", "quota": 100000, "used": 99000, "held": 1000, "left": 0,
        "whole_in": 3725.2,
    } == document["limits"][0]  # fmt: skip
    assert KEY == document["key"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["grant", KEY, "--limit", "chat/tokens 100000/day", "--amount", "15", "--reason", "demo"],
            Order(KEY, {}, "chat/tokens 100000/day", 15, "demo"),
        ),
        (["reset", KEY, "--with", "model=a=b"], Order(KEY, {"model": "a=b"}, None, None, "")),
        (["reset", KEY, "--limit", "l"], Order(KEY, {}, "l", None, "")),
    ],
)
def test_what_is_forgiven(
    limits: Callable[..., Run], accounts: Accounts, arguments: list[str], expected: Order
) -> None:
    """The order arrives as it was given; what became of it is said."""
    code, out, _ = limits(*arguments)

    assert [expected] == accounts.asked
    assert 0 == code
    assert "chat/tokens 100000/day: 15 tokens taken off what was used" in out
    assert "not looked at" in out


def test_nothing_is_said_to_be_nothing(limits: Callable[..., Run], accounts: Accounts) -> None:
    """An identity without limits of its own is no error."""
    accounts.rows, accounts.taken, accounts.untold = [], [], []

    assert (0, f"{KEY}\nno limit is kept by this identity alone\n", "") == limits("show", KEY)
    assert (0, "no limit is kept by this identity alone: nothing was done\n", "") == limits("reset", KEY)


@pytest.mark.parametrize(
    ("arguments", "fails", "expected"),
    [
        (["show", "ada"], None, (1, "Nobody is meant: A key is issuer|sub")),
        (["show", KEY], StoreUnavailable(), (1, "Not known: ")),
        (["reset", KEY, "--limit", "l"], NoSuchLimit(), (1, "No such limit: ")),
        (["reset", KEY], NotForgivable("Say which."), (1, "Nothing was done: Say which.")),
        (["grant", KEY, "--limit", "l", "--amount", "0"], None, (1, "This is no grant: ")),
        (["reset", KEY, "--with", "tiny"], None, (2, "write --with as NAME=VALUE")),
        (["show", KEY, "--admin", "127.0.0.1:9"], None, (2, "no gateway answers at 127.0.0.1:9")),
        (["show", KEY, "--admin", "nonsense"], None, (2, "`nonsense` is no address")),
    ],
)
def test_what_is_not_done(
    limits: Callable[..., Run], accounts: Accounts, arguments: list[str], fails: Exception, expected: tuple[int, str]
) -> None:  # fmt: skip
    """Why, and whether it was refused or could not be asked."""
    accounts.fails = fails
    code, out, err = limits(*arguments)

    assert (expected[0], "") == (code, out)
    assert f"gateway limits: {expected[1]}" in err


def test_who_may_not_ask_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that the gateway does not have."""
    with listening(Fleet(), limits=Accounts(), token="t0ken") as port:
        path = tmp_path / "gateway.yaml"
        path.write_text(
            CONFIGURATION.format(admin=f"{{listen: '127.0.0.1:{port}'}}", state="{url: 'memory://'}")
        )
        code = main(["limits", "show", KEY, "--config", str(path)])

    assert 2 == code
    assert "A credential is required" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "-"),
        (0.1, "1s"),
        (59.2, "1m 0s"),
        (3600.0, "1h 0m"),
        (86400.0 * 30, "30d 0h"),
        (86400.0 + 3599, "1d 0h"),
    ],
)
def test_a_time_is_its_two_largest_units(
    limits: Callable[..., Run], accounts: Accounts, seconds: float, expected: str
) -> None:
    """Rounded up to seconds: never whole sooner than said by more than the second unit."""
    accounts.rows = [Row("l", "tokens", 1, Standing(1, 0, seconds))]
    _, out, _ = limits("show", KEY)

    assert out.splitlines()[2].endswith(f"  {expected}")
