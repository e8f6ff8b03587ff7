"""Flow tests in pytest: every ``*.flowtest.yaml`` is collected, each of its tests is an item.

Installed with Ivrea, it needs no configuration. What differs is shown as ``ivrea test`` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # pytest loads this module in every run: flows are only imported where there are flow tests
    from flows.tools.flowtest import FlowTest, Result

SUFFIXES = (".flowtest.yaml", ".flowtest.yml")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not file_path.name.endswith(SUFFIXES):
        return None
    collected: FlowTestFile = FlowTestFile.from_parent(parent, path=file_path)
    return collected


class FlowTestFile(pytest.File):
    """A file with flow tests."""

    def collect(self) -> Iterator[pytest.Item]:
        from engine.commands.testing import load_file

        loaded = load_file(self.path)
        if loaded.findings:
            told = "\n".join(f"{self.path.name}, {finding.where}: {finding.message}" for finding in loaded.findings)
            raise self.CollectError(told)
        for test in loaded.tests:
            yield FlowTestItem.from_parent(self, name=test.name, test=test)


class FlowTestItem(pytest.Item):
    """One flow test."""

    def __init__(self, *, test: FlowTest, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.test = test

    def runtest(self) -> None:
        from flows.tools.flowtest import run

        result = run(self.test)
        if not result.passed:
            raise FlowTestFailed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, FlowTestFailed):
            return excinfo.value.result.render()
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.test.line - 1, self.test.name


class FlowTestFailed(Exception):
    """Something was not as expected."""

    def __init__(self, result: Result) -> None:
        super().__init__("; ".join(difference.what for difference in result.differences))
        self.result = result
