"""engine → media, engine → flows; media and flows import neither engine nor each other.

And the protocol cores stay without I/O: no sockets, no event loop, no clock of their own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"flows": {"engine", "media"}, "media": {"engine", "flows"}}
CORES = ("engine/sip", "flows")
IO_MODULES = {"asyncio", "socket", "selectors", "threading", "subprocess", "aiohttp", "sqlalchemy"}
CLOCK_CALLS = {
    "time.time",
    "time.monotonic",
    "time.perf_counter",
    "time.sleep",
    "datetime.datetime.now",
    "datetime.now",
    "datetime.datetime.utcnow",
}
SEEDLESS = {"random.random", "random.randint", "random.choice", "random.uniform", "random.getrandbits"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level packages that ``path`` imports anywhere, also inside functions, with line numbers."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield (node.module or "").partition(".")[0], node.lineno
            elif node.level > len(package):
                yield "beyond the top-level package", node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"importlib.import_module", "__import__"}:
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield target.value.partition(".")[0], node.lineno


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(package)
        for name, line in imported(path)
        if name in FORBIDDEN[package]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("core", CORES)
def test_cores_do_no_io(core: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(core)
        for name, line in imported(path)
        if name in IO_MODULES
    ]
    assert not wrong, "\n".join(wrong)


def impure_calls(path: Path) -> Iterator[tuple[str, int]]:
    """Calls of clocks and of the ``random`` module itself; an injected ``Random`` may well be called ``random``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules_imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    forbidden = CLOCK_CALLS | (SEEDLESS if "random" in modules_imported else set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in forbidden:
            yield name, node.lineno


@pytest.mark.parametrize("core", CORES)
def test_cores_have_no_clock_and_no_seedless_chance(core: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} calls {name}" for path in modules(core) for name, line in impure_calls(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_scan_sees_imports_wherever_they_hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    module = tmp_path / "flows" / "sly.py"
    module.parent.mkdir()
    module.write_text(
        "def f():\n    import engine.sip\n    from media import rtp\n    importlib.import_module('alembic.op')\n"
        "from ... import outside\n"
    )
    assert dict(imported(module)).keys() == {"engine", "media", "alembic", "beyond the top-level package"}


def test_the_scan_tells_the_module_from_what_was_handed_in(tmp_path: Path) -> None:
    module = tmp_path / "chance.py"
    module.write_text("def f(random):\n    return random.random()\n")
    assert list(impure_calls(module)) == []
    module.write_text("import random, time\nrandom.random()\ntime.time()\n")
    assert dict(impure_calls(module)).keys() == {"random.random", "time.time"}


def test_the_three_packages_are_all_there_is() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == {"engine", "media", "flows"}
