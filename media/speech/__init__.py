"""Spoken keywords: which of a step's words were said, how surely, and when."""
