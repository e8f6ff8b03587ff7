"""Voicemail: messages that callers leave in mailboxes, and their owners who check them."""
