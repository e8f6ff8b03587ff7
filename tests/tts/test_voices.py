from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.tts import voices
from media.tts.voices import UnknownVoice, known_language, known_voice, resolve

_TAGS = (
    "cy-gb,da-dk,de-de,el-gr,en-au,en-gb,en-gb-wls,en-in,en-us,es-es,es-mx,es-us,fr-ca,fr-fr,id-id,is-is,it-it,ja-jp,"
    "ko-kr,ms-my,nb-no,nl-nl,pl-pl,pt-br,pt-pt,ro-ro,ru-ru,sv-se,ta-in,th-th,tr-tr,vi-vn,zh-cn,zh-hk"
)
TELEPHONY_TAGS = _TAGS.split(",")


@pytest.mark.parametrize("tag", TELEPHONY_TAGS)
def test_every_telephony_tag_is_known_in_any_spelling(tag: str) -> None:
    assert known_language(tag)
    assert resolve("", tag) == resolve("", tag.upper()) == resolve("", tag.replace("-", "_"))


@pytest.mark.parametrize(
    ("voice", "language", "name"),
    [
        ("", "", "en"),
        ("en", "", "en"),
        ("en-us", "", "en-us"),
        ("en-US+F3", "", "en-us+f3"),
        ("male", "", "en"),
        ("female", "", "en+f2"),
        ("female", "de-de", "de+f2"),
        ("andrea", "fr-ca", "fr+Andrea"),
        ("+f3", "nl", "nl+f3"),
        ("en", "ro-ro", "ro"),
        ("en-us+f3", "ro", "ro+f3"),
        ("en-us", "en", "en-us"),
        ("en-us", "en-gb", "en"),
        ("en", "es-la", "es-419"),
        ("", "zh-cn", "cmn"),
        ("", "zh-hk", "yue"),
        ("", "nb-no", "nb"),
        ("", "pt-br", "pt-br"),
        ("", "pt-pt", "pt"),
        ("", "de-AT-1996", "de"),
    ],
)
def test_resolve(voice: str, language: str, name: str) -> None:
    assert resolve(voice, language) == name


@pytest.mark.parametrize("voice", ["klingon", "en+", "en+zzz", "xx+f3", "+", "en us", "../../etc", "en+f3+f4", "\x00"])
def test_an_unknown_voice_is_an_error(voice: str) -> None:
    assert not known_voice(voice)
    with pytest.raises(UnknownVoice, match="no voice"):
        resolve(voice, "")


def test_an_unknown_language_is_an_error() -> None:
    assert not known_language("xx-yy")
    assert known_language("de-AT")
    with pytest.raises(UnknownVoice, match="'xx-yy'"):
        resolve("en", "xx-yy")


@given(st.text(max_size=20), st.text(max_size=20))
def test_anything_else_resolves_or_is_refused(voice: str, language: str) -> None:
    with contextlib.suppress(UnknownVoice):
        assert resolve(voice, language)


def test_the_table_is_what_the_engine_has() -> None:
    spec = importlib.util.find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        pytest.skip("the extra 'tts' is not installed")
    data = Path(spec.origin).parent / "espeak-ng-data"
    present = {file.name.casefold() for file in (data / "lang").rglob("*") if file.is_file()}
    assert present >= voices._BASES
    timbres = {file.name for file in (data / "voices" / "!v").iterdir()}
    assert timbres >= set(voices._VARIANTS.values())
