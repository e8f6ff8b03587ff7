"""Flow tests: a flow, what a caller does on it, and what should come of that, written in YAML.

:func:`load` reads a document, :func:`run` walks one of its tests in the simulator and tells what differs. Files are
read by whoever asks (``ivrea test``, the pytest plugin): there is no I/O here.
"""

from .loading import Loaded, load
from .results import Difference, Result, Row
from .running import run
from .spec import FlowTest

SUFFIXES = (".flowtest.yaml", ".flowtest.yml")
"""How the names of files with flow tests end."""

__all__ = ["SUFFIXES", "Difference", "FlowTest", "Loaded", "Result", "Row", "load", "run"]
