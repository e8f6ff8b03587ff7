"""Flows do no I/O, have no clock, and know neither calls nor sound."""

import ast
import sys
from pathlib import Path

FLOWS = Path(__file__).parents[2] / "flows"
PURE = {"defusedxml", "jsonschema_rs", "yaml"}
"""Libraries that compute and do nothing else."""

FORBIDDEN = {"asyncio", "socket", "time", "random", "threading", "subprocess", "os", "selectors", "engine", "media"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_flows_import_only_the_pure_part_of_the_standard_library() -> None:
    paths = sorted(FLOWS.rglob("*.py"))
    assert paths
    for path in paths:
        names = imported(path)
        assert not names & FORBIDDEN, path
        assert names <= sys.stdlib_module_names | {"flows"} | PURE, path
