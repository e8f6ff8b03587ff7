"""The daemon itself: its parts put together, started, watched and stopped."""
