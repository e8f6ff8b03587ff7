"""Captures: what was said over SIP on a call, as packets and as a ladder, with its record and sound, in one file."""
