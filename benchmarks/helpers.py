"""Processes that a measurement runs beside the engine: started anew, spoken to by a pipe, ended whatever happened."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from typing import Any, Self

from benchmarks import processes


class Helper:
    """``target(pipe, *arguments)`` in a process of its own. A context manager that ends it."""

    def __init__(
        self,
        what: str,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any] | None = None,
        *,
        patience: float = 30.0,
    ) -> None:
        """``what`` it is, for errors; ``patience`` is how long an answer of it may take, in seconds."""
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self._what = what
        self._patience = patience
        self._process = context.Process(
            target=target, args=(far_end, *arguments), kwargs=dict(options or {}), daemon=True
        )
        self._process.start()
        far_end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()

    def cpu(self) -> float:
        """Seconds of CPU so far. Raises RuntimeError when the process is gone."""
        if self._process.exitcode is not None:
            raise RuntimeError(f"{self._what} died, exit status {self._process.exitcode}")
        assert self._process.pid is not None
        return processes.cpu(self._process.pid)

    def answer(self) -> Any:
        """What it says next. Raises RuntimeError when it says nothing, died, or says what went wrong."""
        if not self.pipe.poll(self._patience):
            raise RuntimeError(f"{self._what} does not answer")
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self._what} died") from None
        if isinstance(answer, RuntimeError):
            raise answer
        return answer
