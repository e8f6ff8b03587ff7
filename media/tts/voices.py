"""Which languages and voices there are, and the engine's name for each.

The tables are those of espeak-ng 1.52 (voices whose dictionary the ``espeakng-loader`` wheel
carries), kept here so that a flow can be checked on a machine without it. A language is a
BCP 47 tag in any case, ``_`` allowed; one that is not known as it stands loses subtags from
its end until it is (RFC 4647, 3.4: ``de-AT`` is spoken as ``de``).
"""

from __future__ import annotations

_BASE_NAMES = """
    af am an ar as az ba be bg bn bpy bs ca ca-ba ca-nw ca-va chr cmn cmn-latn-pinyin cs cv cy da de el en en-029
    en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-gb-x-rp en-us en-us-nyc eo es es-419 et eu fa fa-latn fi fr fr-be
    fr-ch ga gd gn grc gu hak haw he hi hr ht hu hy hyw ia id io is it ja ka kk kl kn ko kok ku ky la lb lt ltg lv mi
    mk ml mr ms mt mto my nb nci ne nl nog om or pa pap pl pt pt-br qu quc ro ru ru-cl ru-lv sd shn si sk sl smj sq sr
    sv sw ta te th ti tk tn tr tt ug uk ur uz vi vi-vn-x-central vi-vn-x-south yue yue-latn-jyutping
"""
_BASES = frozenset(_BASE_NAMES.split())
"""Voices by language, as the engine names them."""

_ALIASES = {
    "en-au": "en",
    "en-gb": "en",
    "en-gb-wls": "en",
    "en-ie": "en",
    "en-in": "en",
    "en-nz": "en",
    "en-uk": "en",
    "en-za": "en",
    "en-ca": "en-us",
    "es-la": "es-419",
    "es-mx": "es-419",
    "es-us": "es-419",
    "fr-ca": "fr",
    "in": "id",
    "iw": "he",
    "mo": "ro",
    "nn": "nb",
    "no": "nb",
    "zh": "cmn",
    "zh-cn": "cmn",
    "zh-hk": "yue",
    "zh-mo": "yue",
    "zh-sg": "cmn",
    "zh-tw": "cmn",
    "zh-yue": "yue",
}
"""Tags that need more than the loss of a subtag. Accents that the engine lacks get their nearest."""

_REGIONAL_NAMES = """
    cy-gb da-dk de-de el-gr es-es fr-fr id-id is-is it-it ja-jp ko-kr ms-my nb-no nl-nl pl-pl pt-pt ro-ro ru-ru sv-se
    ta-in th-th tr-tr vi-vn
"""
_REGIONAL = frozenset(_REGIONAL_NAMES.split())
"""Tags that callers of the telephony APIs write out in full; they resolve by losing their region."""

_VARIANT_NAMES = """
    Alex Alicia Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike
    Nguyen Reed Storm Tweaky adam anika announcer antonio aunty belinda benjamin boris caleb croak david ed edward
    edward2 f1 f2 f3 f4 f5 fast grandma grandpa gustave ian iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3
    klatt4 klatt5 klatt6 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 norbert pablo paul pedro quincy
    rob robert sandro shelby steph steph2 steph3 travis victor whisper whisperf zac
"""
_VARIANTS = {name.casefold(): name for name in _VARIANT_NAMES.split()}
"""Timbres, by casefolded name: the engine's own spelling matters, and it ignores silently what it does not know."""

_GENDERS = {"male": "", "female": "f2"}
"""All base voices are male; ``f2`` lifts the pitch to about 195 Hz."""

DEFAULT_LANGUAGE = "en"


class UnknownVoice(ValueError):
    """There is no such voice or language; the text says which."""


def known_language(language: str) -> bool:
    """Whether ``language`` can be spoken."""
    return _look_up(language) is not None


def known_voice(voice: str) -> bool:
    """Whether ``voice`` names a voice: see :func:`resolve`."""
    try:
        resolve(voice, "")
    except UnknownVoice:
        return False
    return True


def resolve(voice: str, language: str) -> str:
    """The engine's name of a voice. Raises :class:`UnknownVoice`.

    ``voice`` is empty, ``male``, ``female``, a language (``en-us``), a timbre (``f3``, ``Andrea``)
    or both (``en-us+f3``). ``language``, when given, decides what is spoken; a voice
    that is an accent of it is kept (``en-us`` speaks ``en``).
    """
    base, variant = _parts(voice)
    if language.strip():
        wanted = _look_up(language)
        if wanted is None:
            raise UnknownVoice(f"no voice speaks the language {language!r}")
        accent = base is not None and "-" not in _fold(language) and _primary(base) == _primary(wanted)
        base = base if accent else wanted
    base = base or DEFAULT_LANGUAGE
    return f"{base}+{variant}" if variant else base


def _parts(voice: str) -> tuple[str | None, str]:
    """Language voice and timbre that ``voice`` asks for."""
    head, plus, tail = _fold(voice).partition("+")
    if not plus and head not in _BASES and (head in _GENDERS or head in _VARIANTS):
        head, tail = "", head
    base = _look_up(head) if head else None
    if (head and base is None) or (plus and not tail):
        raise UnknownVoice(f"there is no voice {voice!r}")
    if tail in _GENDERS:
        return base, _GENDERS[tail]
    if tail and tail not in _VARIANTS:
        raise UnknownVoice(f"there is no voice {voice!r}: {tail!r} is no timbre")
    return base, _VARIANTS.get(tail, "")


def _look_up(language: str) -> str | None:
    tag = _fold(language)
    while tag:
        if tag in _ALIASES:
            return _ALIASES[tag]
        if tag in _BASES:
            return tag
        tag = tag.rpartition("-")[0]
    return None


def _fold(name: str) -> str:
    return name.strip().casefold().replace("_", "-")


def _primary(tag: str) -> str:
    return tag.partition("-")[0]
