"""The shape of the code: small files, each explained, each tested."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.house.tree import ROOT, files, parsed, relative, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_FILE = 400  # lines
LONGEST_LINE_OF_THE_LINE = 140  # lines of pipeline.py: the first file that anybody reads
LONGEST_FUNCTION = 50  # lines of code, docstring apart
ONE_PIECE = {  # longer, because splitting them would hide what they are for
    "gateway/pipeline.py",  # the line itself
    "gateway/stages/refuse/public.py",  # one flat table, complete by `assert_never`
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager", "misc"}
ESCAPES = {"skip", "xfail", "importorskip"}  # `skipif` says which machine cannot, and .ci/run's can


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, methods and inner ones too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return 1 + (function.end_lineno or 0) - body[0].lineno + 1 if body else 1


def test_no_file_is_too_long() -> None:
    """A file that needs more than 400 lines holds two ideas."""
    python = [path for path in files() if path.suffix == ".py" and "benchmarks" not in path.parts]
    found = {relative(path): len(path.read_text().splitlines()) for path in python}

    assert {} == {
        name: lines for name, lines in found.items() if lines > LONGEST_FILE and name.startswith("gateway/")
    }


def test_the_line_stays_readable() -> None:
    """The life of a request fits on two screens."""
    assert LONGEST_LINE_OF_THE_LINE >= len((ROOT / "gateway/pipeline.py").read_text().splitlines())


def test_no_function_is_too_long() -> None:
    """A function that needs more than 50 lines does two things; the line itself may be as long as it is."""
    long = [
        f"{relative(path)}:{function.lineno} {function.name} {code_lines(function)}"
        for path in sources()
        for function in functions(path)
        if code_lines(function) > LONGEST_FUNCTION and relative(path) not in ONE_PIECE
    ]

    assert [] == long


def test_every_module_says_what_it_is() -> None:
    """The first thing in a file is what it decides."""
    assert [] == [relative(path) for path in sources() if not ast.get_docstring(parsed(path))]


def test_every_test_says_what_it_shows() -> None:
    """A test without a sentence is a test that nobody can judge."""
    tests = [path for path in files() if path.name.startswith("test_") and path.suffix == ".py"]
    silent = [
        f"{relative(path)}::{function.name}"
        for path in tests
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]

    assert [] == silent


def test_no_module_has_a_name_for_everything() -> None:
    """What a module is for stands in its name."""
    assert [] == [
        relative(path) for path in sources() if FORBIDDEN_NAMES & {path.stem, *path.relative_to(ROOT).parts}
    ]


@pytest.mark.parametrize("package", ["core", "stages"])
def test_every_module_has_a_test(package: str) -> None:
    """What decides about a request has a test file of its own, or stands in one of its package."""
    tests = [path for path in files() if path.suffix == ".py" and "unit" in path.parts]
    names = {path.name for path in tests}
    imported = {name for path in tests for name in imports(path)}
    missing = []
    for path in sources():
        if ROOT / "gateway" / package not in path.parents or not has_code(path):
            continue
        owner = path.parent.name
        stem = owner if path.name == "__init__.py" else path.stem
        own = {f"test_{stem}.py"} | ({f"test_{owner}.py"} - {f"test_{package}.py"})
        dotted = relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if not own & names and dotted not in imported:
            missing.append(relative(path))

    assert [] == missing


def imports(path: Path) -> Iterator[str]:
    """Every module that a module imports from."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def has_code(path: Path) -> bool:
    """Tell whether a module has a function or a method with more than a docstring."""
    return any(
        not all(isinstance(line, ast.Expr | ast.Pass) for line in function.body)
        for function in functions(path)
    )


def test_no_test_is_switched_off() -> None:
    """A test that does not run proves nothing."""
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in files()
        if path.suffix == ".py" and "tests" in path.parts
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ESCAPES
        and isinstance(node.value, ast.Name | ast.Attribute)
        and ast.unparse(node.value) in {"pytest", "pytest.mark"}
    ]

    assert [] == found
