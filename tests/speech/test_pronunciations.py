import subprocess
import sys
from pathlib import Path

import pytest

from media.speech import letters, model
from media.speech.lexicon import Lexicon, bundled, pronounceable
from media.speech.model import ModelError


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return bundled()


def test_words_and_their_variants(lexicon: Lexicon) -> None:
    assert lexicon.pronunciations("yes") == (("Y", "EH", "S"),)
    assert len(lexicon.pronunciations("either")) == 2
    assert lexicon.pronunciations("YES") == lexicon.pronunciations("yes")


def test_apostrophes_may_be_missing(lexicon: Lexicon) -> None:
    assert lexicon.pronunciations("dont")[0] == ("D", "OW", "N", "T")


def test_compounds_are_said_part_by_part(lexicon: Lexicon) -> None:
    parts = lexicon.pronunciations("twenty")[0] + lexicon.pronunciations("one")[0]
    assert lexicon.pronunciations("twenty-one") == (parts,)
    assert lexicon.pronunciations("twenty-xqzv") == ()


def test_a_final_r_may_be_dropped(lexicon: Lexicon) -> None:
    assert ("SH", "AO") in lexicon.spoken("sure")
    assert ("F", "AO") in lexicon.spoken("four")
    assert lexicon.spoken("yes") == lexicon.pronunciations("yes")


@pytest.mark.parametrize(
    "word", ["", " ", "xqzv", "ș", "a b", "(", "[a", ".*", "yes(2)", "a" * 1000, "\n", "-", "'", "12"]
)
def test_what_is_no_word_has_no_pronunciation(lexicon: Lexicon, word: str) -> None:
    assert lexicon.pronunciations(word) == ()


def test_pronounceable_names_what_is_not() -> None:
    assert pronounceable(["yes", "xqzv", "no"]) == {"xqzv"}
    assert pronounceable(["yes"], "en-GB") == set()
    assert pronounceable(["ja", "yes"], "de-DE") == {"ja", "yes"}


def test_what_a_telephone_leaves_of_an_s(lexicon: Lexicon) -> None:
    assert ("IH", "K", "S") in lexicon.spoken("six")
    assert ("S", "IH", "K") in lexicon.spoken("six")
    assert ("Y", "EH") not in lexicon.spoken("yes")


@pytest.mark.parametrize(
    ("ipa", "expected"),
    [
        ("bɹˈɑːmblɚ", "B R AA M B L ER"),
        ("tʃˈɜːtʃ", "CH ER CH"),
        ("zˈaɪksəl", "Z AY K S AH L"),
        ("bˈʌʔn̩", "B AH T AH N"),
        (" vˈɑːsk ", "V AA S K"),
        ("", ""),
        ("(de)ʁ", ""),
    ],
)
def test_ipa_to_phones(ipa: str, expected: str) -> None:
    assert letters.phones(ipa) == tuple(expected.split())


def test_every_sound_is_one_of_the_models_phones() -> None:
    known = {phone for phones in letters.SOUNDS.values() for phone in phones.split()}
    assert known <= set(model.load().phones.names)


@pytest.mark.peer("espeakng_loader")
def test_a_name_that_no_dictionary_has_is_read() -> None:
    lexicon = Lexicon()
    lexicon.learn(["Brombler", "yes", "xqzv", "șșș", "", "kazoo-brombler", "a" * 500])
    assert lexicon.pronunciations("brombler") == (("B", "R", "AA", "M", "B", "L", "ER"),)
    assert lexicon.pronunciations("kazoo-brombler")[0][-7:] == lexicon.pronunciations("brombler")[0]
    assert lexicon.pronunciations("xqzv") == ()


def test_without_espeak_a_name_has_no_pronunciation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters.sys, "executable", "/nowhere/python")
    lexicon = Lexicon()
    lexicon.learn(["brombler"])
    assert lexicon.pronunciations("brombler") == ()


def test_asking_does_not_load_the_acoustic_model() -> None:
    code = (
        "import sys; from media.speech.lexicon import pronounceable; "
        "pronounceable(['yes']); print('media.speech.matching' in sys.modules, 'vosk' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "False False"


def test_a_missing_dictionary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.dict"):
        Lexicon(tmp_path / "gone.dict")
