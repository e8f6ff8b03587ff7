"""Call trees whose prompts are tones, so that what is heard, sent and recorded can be told by frequency."""

from __future__ import annotations

from urllib.parse import quote

from kit import sound

ROOT_HZ, ONE_HZ, TWO_HZ, CALLER_HZ = 440.0, 550.0, 1050.0, 300.0
"""Prompt of the root, of the node below it, of the leaf; and what a recorded caller sounds like."""

SOUNDS = {
    "root.wav": sound.tone(ROOT_HZ, 1.2),
    "long.wav": sound.tone(ROOT_HZ, 6.0),
    "one.wav": sound.tone(ONE_HZ, 0.8),
    "two.wav": sound.tone(TWO_HZ, 0.6),
    "brief.wav": sound.tone(ROOT_HZ, 0.2),
}

Tree = dict[str, object]


def two_levels(hook: str = "", *, root: str = "root.wav") -> Tree:
    """``1`` then ``2``: two nodes below the root, the last a leaf that is played and the call hung up."""
    tree: Tree = {"_": root, "key:1": {"_": "one.wav", "key:2": "two.wav", "key:3": "two.wav"}, "key:9": "two.wav"}
    return {f"$api {hook}": tree} if hook else tree


def every_key() -> Tree:
    """A node per key, each of them again with a node per key: tells how many presses were counted, and which."""

    def node(depth: int) -> object:
        if not depth:
            return "two.wav"
        return {"_": "brief.wav", **{f"key:{key}": node(depth - 1) for key in "123456789*0#"}}

    tree = node(3)
    assert isinstance(tree, dict)
    return tree


def transfer(target: str, hook: str) -> Tree:
    return {f"$api {hook}": {"_": "brief.wav", "key:1": {f"$redirect {target}": "one.wav"}}}


def straight_transfer(target: str, hook: str) -> Tree:
    return {f"$api {hook}": {f"$redirect {target}": "brief.wav"}}


def words(*patterns: str, prompt: str = "brief.wav", **more: object) -> Tree:
    """A node that listens for words; each branch ends in a tone."""
    return {"_": prompt, **dict.fromkeys(patterns, "two.wav"), **more}


def path(*keys: str) -> str:
    """The path of a node, as callbacks and the closing line give it."""
    return "/".join(quote(key, safe="$") for key in keys)
