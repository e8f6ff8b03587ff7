"""Sound in and out: RTP streams, prompts, keys, recordings and recognition. Knows streams, not calls.

Imports neither ``engine`` nor ``flows``.
"""
