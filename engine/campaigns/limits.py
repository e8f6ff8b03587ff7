"""The limits of a lane, as the configuration and the trunks have them."""

from __future__ import annotations

from engine.calls.directory import Directory
from engine.campaigns.pacing import Lane, Limits
from engine.config import QueueConfig


def queue_limits(directory: Directory, usual: QueueConfig, lane: Lane) -> Limits:
    """Those of the trunk that the lane names, if the account has it or may use it; else the usual ones.

    A trunk that all accounts share has its rate and number of calls for all of them together.
    """
    trunks = [each for each in directory.trunks if each.config.name == lane.trunk]
    own = next((each for each in trunks if each.account == lane.account), None)
    trunk = own or next((each for each in trunks if each.shared), None)
    if trunk is None:
        return Limits(usual.rate, usual.calls, usual.account_calls)
    config = trunk.config
    rate, calls = config.queue_rate or usual.rate, config.queue_calls or usual.calls
    return Limits(rate, calls, usual.account_calls, trunk.label if trunk.shared else "")
