"""Tools on top of flows: each is an API of its own, with a command of the same name in front of it."""
