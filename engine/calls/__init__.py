"""Calls: from the INVITE to the one final state of each."""
