"""The limits of a lane, as the configuration and the trunks have them."""

from __future__ import annotations

from engine.calls.directory import Directory
from engine.campaigns.pacing import Lane, Limits
from engine.config import QueueConfig


def queue_limits(directory: Directory, usual: QueueConfig, lane: Lane) -> Limits:
    """Those of the trunk that the lane names, if the account has it or may use it; else the usual ones."""
    trunks = [each for each in directory.trunks if each.config.name == lane.trunk]
    own = next((each.config for each in trunks if each.account == lane.account), None)
    trunk = own or next((each.config for each in trunks if each.shared), None)
    rate, calls = (trunk.queue_rate, trunk.queue_calls) if trunk is not None else (0.0, 0)
    return Limits(rate or usual.rate, calls or usual.calls, usual.account_calls)
