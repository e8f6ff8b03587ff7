import pytest

from flows.keywords import Choice, Choices, canonical, normalise, parse_pattern


def said(pattern: str, utterance: str, language: str = "en") -> bool:
    parsed, _ = parse_pattern(pattern, language)
    return Choices([Choice("x", parsed)], language).said(utterance.split()) == "x"


def codes(pattern: str, language: str = "en") -> set[tuple[str, str]]:
    return {(problem.code, problem.severity) for problem in parse_pattern(pattern, language)[1]}


@pytest.mark.parametrize(
    ("pattern", "utterance", "taken"),
    [
        ("yes | sure | want -not", "yes", True),
        ("yes | sure | want -not", "sure", True),
        ("yes | sure | want -not", "I want that", True),
        ("yes | sure | want -not", "I do not want that", False),
        ("yes | sure | want -not", "no", False),
        ("yes | sure | want -not", "not yes", True),  # the minus binds to its own alternative
        ("yes", "yesterday", False),
        ("call back", "back you call", True),  # any order
        ("call back", "call", False),
        ('"call back"', "please call back", True),
        ('"call back"', "back call", False),
        ('want -"right now"', "want it now right", True),
        ('want -"right now"', "want it right now", False),
        ("want*", "wanted", True),
        ("want*", "unwanted", False),
        ("YES", "Yes!", True),
        ("don't", "don’t", True),
        ("șase", "ŞASE", True),
        ("straße", "STRASSE", True),
        ("naïve café", "Cafe NAIVE", True),
        ("-no", "yes", False),
        ("-no", "", False),
        ("", "", False),
    ],
)
def test_words(pattern: str, utterance: str, taken: bool) -> None:
    assert said(pattern, utterance) is taken


@pytest.mark.parametrize(
    ("pattern", "utterance", "language", "taken"),
    [
        ("1", "one", "en", True),
        ("one", "1", "en", True),
        ("12", "twelve", "en", True),
        ("12", "one two", "en", True),
        ("12", "two one", "en", False),
        ("12", "one", "en", False),
        ("21", "twenty one", "en", True),
        ("20", "twenty", "en", True),
        ("112", "one one two", "en", True),
        ("07", "zero seven", "en", True),
        ("2", "două", "ro", True),
        ("2", "doi", "ro", True),
        ("2", "doua", "ro", True),
        ("5", "fünf", "de-AT", True),
        ("1", "one", "xx", False),
        ("key:1", "one", "en", False),
        ("-1 yes", "yes one", "en", False),
    ],
)
def test_numbers(pattern: str, utterance: str, language: str, taken: bool) -> None:
    assert said(pattern, utterance, language) is taken


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("1", ("1",)),
        ("key:1", ("1",)),
        ("KEY:d", ("D",)),
        ("12 | *", ("12", "*")),
        ("#", ("#",)),
        ("*1", ("*1",)),
        ("one", ()),
        ("1 yes", ()),
        ("key:1 | yes | 2 -no", ("1", "2")),
    ],
)
def test_keys(pattern: str, keys: tuple[str, ...]) -> None:
    assert parse_pattern(pattern)[0].keys == keys


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("yes | sure", set()),
        ("", {("empty-pattern", "error")}),
        (" | ", {("empty-pattern", "error")}),
        ("yes || sure", {("empty-pattern", "warning")}),
        ("yes | -no", {("never-matches", "warning")}),
        ("want - not", {("bad-pattern", "error")}),
        ('"yes', {("bad-pattern", "error")}),
        ("key:", {("bad-pattern", "error")}),
        ("key: 1", {("bad-pattern", "error")}),
        ("key:x | yes", {("bad-pattern", "error")}),
        ("key:1 yes | no", {("never-matches", "warning")}),
        ("* yes | no", {("never-matches", "warning")}),
        ("1 2", {("said-only", "info")}),
        ("🙂 | yes", {("bad-pattern", "warning"), ("empty-pattern", "warning")} - {("empty-pattern", "warning")}),
        ("|".join(["a"] * 300), {("pattern-too-long", "error")}),
        (" ".join(f"w{n}" for n in range(40)), {("pattern-too-long", "error")}),
        ("1" * 3999, {("pattern-too-long", "error")}),
        ("key:" + "1*" * 40, {("pattern-too-long", "error")}),
        ("w" * 500_000, {("pattern-too-long", "error")}),
    ],
)
def test_what_is_odd_is_reported(pattern: str, expected: set[tuple[str, str]]) -> None:
    assert codes(pattern) - {("never-matches", "warning")} == expected - {("never-matches", "warning")}
    assert expected <= codes(pattern)


def test_first_choice_in_document_order_wins() -> None:
    choices = Choices([Choice(p, parse_pattern(p)[0]) for p in ("want tea", "want", "key:1", "1", "12")])
    assert choices.said(["want", "tea"]) == "want tea"
    assert choices.said(["want"]) == "want"
    assert choices.said(["one"]) == "1"
    assert choices.pressed("1") == "key:1"
    assert choices.continues("1")
    assert not choices.continues("12")


def test_vocabulary_has_every_word_that_can_decide() -> None:
    patterns = ("want -not", "1 | key:2", "Café", "-never | key:3")
    choices = Choices([Choice(p, parse_pattern(p)[0]) for p in patterns])
    assert choices.vocabulary is not None
    assert choices.vocabulary.words == ("want", "not", "one", "café")


def test_keys_alone_arm_no_recogniser() -> None:
    assert Choices([Choice("key:1", parse_pattern("key:1 | * | #")[0])]).vocabulary is None


def test_normalise_keeps_letters_of_scripts_whose_marks_are_vowels() -> None:
    assert normalise("हाँ") != normalise("ह")
    assert normalise("Ș,i!") == "si"
    assert canonical("Zwölf", "de") == "zwolf"
    assert canonical("Drei", "de") == "3"
