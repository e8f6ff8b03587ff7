"""What callers who wait are told, in the language of their flow as far as there are words for it, else in English."""

from __future__ import annotations

from flows.prompts import Prompt

PLACES = {
    "de": "Sie sind Nummer {} in der Warteschlange.",
    "en": "You are number {} in the queue.",
    "es": "Usted es el número {} en la cola.",
    "fr": "Vous êtes le numéro {} dans la file d'attente.",
    "it": "Lei è il numero {} in coda.",
    "nl": "U bent nummer {} in de wachtrij.",
    "pt": "O senhor é o número {} na fila.",
    "ro": "Sunteți pe locul {} în coada de așteptare.",
}
"""The place of a caller in a queue, by language."""

SLOTS = {
    "de": "Der Anruf ist auf Platz {} geparkt.",
    "en": "The call is parked in slot {}.",
    "es": "La llamada está aparcada en la plaza {}.",
    "fr": "L'appel est parqué à la place {}.",
    "it": "La chiamata è parcheggiata nel posto {}.",
    "nl": "Het gesprek is geparkeerd op plaats {}.",
    "pt": "A chamada está estacionada na vaga {}.",
    "ro": "Apelul este parcat pe locul {}.",
}
"""The number of a slot, digit by digit."""


def place_in_queue(position: int, language: str) -> Prompt:
    """``position`` counts from 1; ``language`` is a BCP 47 tag, or empty."""
    return _said(PLACES, str(position), language)


def number_of_slot(slot: str, language: str) -> Prompt:
    """The digits one by one, so that they can be dialled."""
    return _said(SLOTS, " ".join(slot), language)


def _said(words: dict[str, str], value: str, language: str) -> Prompt:
    known = language.replace("_", "-").partition("-")[0].lower() in words
    tag = language if known else "en"
    return Prompt(text=words[tag.replace("_", "-").partition("-")[0].lower()].format(value), language=tag)
