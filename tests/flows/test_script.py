import pytest

from flows.script import Hangup, Press, Say, ScriptError, Wait, parse_script


def test_all_statements() -> None:
    script = 'say yes please; press 1*#; say! NO ;press! a 2;wait 2.5; say "one; two"; hangup;'
    assert parse_script(script) == (
        Say("yes please"),
        Press("1*#"),
        Say("NO", now=True),
        Press("A2", now=True),
        Wait(2.5),
        Say("one; two"),
        Hangup(),
    )


@pytest.mark.parametrize("script", ["", " ", ";;", "\n;\n"])
def test_an_empty_script_is_a_silent_caller(script: str) -> None:
    assert parse_script(script) == ()


def test_statements_read_as_they_are_written() -> None:
    script = 'say yes; press! 12; wait 0.5; say "a; b"; hangup'
    assert "; ".join(map(str, parse_script(script))) == script


@pytest.mark.parametrize(
    ("script", "position", "words"),
    [
        ("shout yes", 1, "none of"),
        ("say yes;  jump", 11, "none of"),
        ("say", 1, "needs a text"),
        ("press", 1, "needs keys"),
        ("press 1; press 1x", 10, "no key 'X'"),
        ("wait", 1, "needs seconds"),
        ("wait -1", 1, "needs seconds"),
        ("wait nan", 1, "needs seconds"),
        ("wait inf", 1, "needs seconds"),
        ("wait! 1", 1, "needs seconds"),
        ("hangup now", 1, "stands alone"),
        ("hangup; say yes", 9, "follow hangup"),
        ('say "yes', 5, "quotation mark"),
        ("!", 1, "none of"),
    ],
)
def test_errors_say_what_and_where(script: str, position: int, words: str) -> None:
    with pytest.raises(ScriptError, match=words) as caught:
        parse_script(script)
    assert caught.value.position == position
