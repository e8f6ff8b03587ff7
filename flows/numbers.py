"""Number words: what a spoken number sounds like, per language.

A language's table maps a number to the words that are said for it, the usual one first.
"""

from __future__ import annotations

from types import MappingProxyType

_ENGLISH = {
    "0": ("zero",),
    "1": ("one",),
    "2": ("two",),
    "3": ("three",),
    "4": ("four",),
    "5": ("five",),
    "6": ("six",),
    "7": ("seven",),
    "8": ("eight",),
    "9": ("nine",),
    "10": ("ten",),
    "11": ("eleven",),
    "12": ("twelve",),
    "13": ("thirteen",),
    "14": ("fourteen",),
    "15": ("fifteen",),
    "16": ("sixteen",),
    "17": ("seventeen",),
    "18": ("eighteen",),
    "19": ("nineteen",),
    "20": ("twenty",),
    "30": ("thirty",),
    "40": ("forty",),
    "50": ("fifty",),
    "60": ("sixty",),
    "70": ("seventy",),
    "80": ("eighty",),
    "90": ("ninety",),
}


def _counted(*words: str) -> dict[str, tuple[str, ...]]:
    """A table from the words for zero, one, two …; variants of one number are joined by ``/``."""
    return {str(number): tuple(word.split("/")) for number, word in enumerate(words)}


TABLES = MappingProxyType(
    {
        "en": MappingProxyType(_ENGLISH),
        "ro": MappingProxyType(
            _counted(
                *("zero", "unu/una", "doi/două", "trei", "patru", "cinci"),
                *("șase", "șapte", "opt", "nouă", "zece"),
            )
        ),
        "es": MappingProxyType(
            _counted("cero", "uno/una", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez")
        ),
        "fr": MappingProxyType(
            _counted("zéro", "un/une", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix")
        ),
        "de": MappingProxyType(
            _counted("null", "eins", "zwei/zwo", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn")
        ),
        "it": MappingProxyType(
            _counted("zero", "uno/una", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci")
        ),
        "pt": MappingProxyType(
            _counted("zero", "um/uma", "dois/duas", "três", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez")
        ),
        "nl": MappingProxyType(
            _counted("nul", "een/één", "twee", "drie", "vier", "vijf", "zes", "zeven", "acht", "negen", "tien")
        ),
    }
)


def base_language(language: str) -> str:
    """``"en"`` of ``"en-GB"``; no language at all is English."""
    return language.replace("_", "-").partition("-")[0].strip().casefold() or "en"


def words_for(number: str, language: str) -> tuple[str, ...]:
    """The words said for ``number`` (decimal digits); none when the table does not have it."""
    table = TABLES.get(base_language(language))
    return table.get(number, ()) if table is not None else ()


def readings(digits: str, language: str) -> tuple[tuple[str, ...], ...]:
    """The ways in which ``digits`` may be said, each a run of numbers that have a word of their own.

    ``"12"`` is ``12`` or ``1 2``; ``"21"`` in English is ``20 1`` or ``2 1``; a leading zero is said digit by digit.
    """
    one_by_one = tuple(digits)
    if len(digits) == 1:
        return (one_by_one,)
    found: list[tuple[str, ...]] = []
    if words_for(digits, language):
        found.append((digits,))
    if len(digits) == 2 and digits[0] not in "01" and digits[1] != "0" and base_language(language) == "en":
        found.append((digits[0] + "0", digits[1]))
    found.append(one_by_one)
    return tuple(found)
