"""What walks a graph, and what carries calls, knows verbs: the name of no dialect is a word in its code."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {"brombler", "kazoo", "pivot", "messagebird", "verboice", "kwebbl", "twiml"}
PLACES = ("flows", "engine/calls", "engine/sip", "media")
COMPILERS = ("flows/dialects", "flows/schemas", "flows/tools/convert", "flows/tools/starter.py")
"""What reads or writes documents of dialects."""


def sources() -> Iterator[Path]:
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            if not path.relative_to(ROOT).as_posix().startswith(COMPILERS):
                yield path


def docstrings(source: str) -> set[tuple[int, int]]:
    """Where the docstrings of a module begin, those of fields (a text that stands alone) too."""
    alone = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr))
    texts = (node.value for node in alone if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
    return {(text.lineno, text.col_offset) for text in texts}


def names_in(source: str) -> list[tuple[int, str]]:
    """Lines and names of dialects in the code: identifiers, and words in texts that are no docstrings."""
    found = []
    documentation = docstrings(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or token.start in documentation:
            continue
        # Both compile_kazoo and KazooCall have the word in them, and so has TwiML.
        humps = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", token.string)
        whole = re.findall(r"[A-Za-z]+", token.string)
        found += [(token.start[0], name) for name in NAMES & {word.casefold() for word in (*humps, *whole)}]
    return found


@pytest.mark.parametrize("place", PLACES)
def test_no_dialect_is_named(place: str) -> None:
    paths = [path for path in sources() if path.relative_to(ROOT).as_posix().startswith(f"{place}/")]
    assert paths
    found = {path.relative_to(ROOT).as_posix(): names_in(path.read_text()) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    [
        "dialect = 'kazoo'",
        "compile_kazoo()",
        "if kazoo: pass",
        "from flows.dialects.messagebird import x",
        "x = f'{y} of TwiML'",
        "class KazooCall: pass",
    ],
)
def test_a_name_would_be_found(code: str) -> None:
    assert names_in(code + "\n")


@pytest.mark.parametrize(
    "code", ["# as in kazoo", "'''About kazoo.'''", "class A:\n    x: int\n    'A kazoo.'", "pivots = 1"]
)
def test_comments_and_docstrings_may_name_them(code: str) -> None:
    assert names_in(code + "\n") == []
