"""What must never be committed: private keys, secrets, the traces of one person's machine."""

from __future__ import annotations

import re

from tests.house.tree import files, relative

TEXT = {
    *("", ".py", ".md", ".toml", ".yaml", ".yml", ".json", ".lua", ".lock", ".txt", ".cfg", ".sh"),
    *(".service", ".jsonl", ".mjs", ".pem", ".key"),
}
# Written in pieces, so that this file does not find itself.
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----\s+[A-Za-z0-9+/=]{20}")
MACHINE_PATHS = (
    "/wo" + "rk/",
    "/ho" + "me/",
    "/ro" + "ot/",
    "/op" + "t/pypi",
    "/opt/whe" + "els",
    "/tmp/br" + "ief",
)
OTHER_INDEXES = ("--index" + "-url", "--extra-index" + "-url", "--find" + "-links", "file:" + "///")
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:")


def texts() -> list[tuple[str, str]]:
    """Every file that is text, with its name."""
    return [(relative(path), path.read_text(errors="replace")) for path in files() if path.suffix in TEXT]


def test_no_private_key_is_tracked() -> None:
    """Keys are made where they are used."""
    assert [] == [name for name, text in texts() if PRIVATE_KEY.search(text)]
    assert [] == [relative(path) for path in files() if path.suffix in {".key", ".p12", ".pfx"}]


def test_no_path_of_a_machine_is_tracked() -> None:
    """Whoever clones this has other directories."""
    assert [] == [
        f"{name}: {path}"
        for name, text in texts()
        for path in MACHINE_PATHS
        if re.search(rf"(?<![\w.}}]){path}", text)
    ]


def test_locks_name_no_other_index() -> None:
    """Hashes pin what is installed; where it comes from is the installer's own business."""
    locks = [(name, text) for name, text in texts() if name.endswith(".lock")]

    assert 5 == len(locks)
    assert [] == [f"{name}: {one}" for name, text in locks for one in OTHER_INDEXES if one in text]


def test_nothing_is_left_for_later() -> None:
    """What is not done is an issue, or a line in the README's list of limits."""
    assert [] == [
        f"{name}: {word}"
        for name, text in texts()
        if name.startswith(("gateway/", "tests/", "docs/", "deploy/"))
        for word in UNFINISHED
        if word in text
    ]


def test_no_file_is_large() -> None:
    """Nobody clones weights."""
    assert [] == [relative(path) for path in files() if path.stat().st_size > 1024 * 1024]
