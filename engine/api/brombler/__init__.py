"""Brombler's API: ``auth.cas``, ``call.cas``, ``list.cas``, ``close.cas``, ``refer.cas``; what ``$forward`` posts."""
