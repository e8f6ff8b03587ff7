"""The words of voicemail, in English: what is always the same is rendered before anybody calls."""

from __future__ import annotations

from engine.calls.voicemail import spoken

# --- leaving a message --------------------------------------------------------------------

UNAVAILABLE = "The person at extension"
IS_NOT = "is not available."
HOW = "Please leave a message after the tone. When you are done, press the hash key."
NOTHING = "Nothing was recorded."
FAILED = "The recording failed."
REVIEW = (
    "To listen to your recording, press one. To keep it, press two. To record it again, press three. "
    "To cancel, press seven."
)
KEPT = "Thank you. Your message was kept."
CANCELLED = "Cancelled."
FULL = "This mailbox is full."
NOT_NOW = "This mailbox cannot be used now."

# --- logging in ---------------------------------------------------------------------------

ASK_BOX = "Please enter the number of your mailbox, then press the hash key."
ASK_PIN = "Please enter your PIN, then press the hash key."
WRONG = "That is not right."
GOODBYE = "Goodbye."
UNKNOWN_KEY = "That is not one of the keys."

# --- the messages of a box ----------------------------------------------------------------

YOU_HAVE = "You have"
AND = "and"
TO_HEAR_NEW = "To hear the new messages, press one."
TO_HEAR_SAVED = "To hear the saved messages, press two."
FOR_SETTINGS = "To change your greeting or your PIN, press five. To end, press the hash key."
RECEIVED = "Received"
FROM = "from"
UNKNOWN_CALLER = "an unknown number"
OPTIONS = (
    "To hear it again, press one. To save it, press two. To hear when it came, press five. For the next message, "
    "press six, for the one before, press four. To delete it, press seven. To end, press the hash key."
)
SAVED = "Saved."
DELETED = "Deleted."
GONE = "The sound of this message is not there."
NO_MORE = "There are no more messages."
NONE_BEFORE = "This is the first message."

# --- its settings -------------------------------------------------------------------------

SETTINGS = (
    "To record your greeting, press one. To use the usual greeting, press two. To change your PIN, press three. "
    "To go back, press the hash key."
)
SAY_GREETING = "Say your greeting after the tone. When you are done, press the hash key."
GREETING_KEPT = "Your greeting was kept."
USUAL_GREETING = "The usual greeting is used."
NEW_PIN = "Enter the new PIN, four to twelve digits, then press the hash key."
AGAIN = "Enter it again."
NO_PIN = "A PIN has four to twelve digits."
NOT_THE_SAME = "These were not the same."
PIN_CHANGED = "Your PIN was changed."

EVERY = (
    *(words for name, words in list(globals().items()) if name.isupper() and isinstance(words, str)),
    *spoken.digits("+0123456789"),
    *(spoken.count(number, f"{state} message") for state in ("new", "saved") for number in range(11)),
)
"""All that can be rendered early."""
