"""Calls: SIP, the live call over a media worker, callbacks, store, configuration, commands and the daemon."""
