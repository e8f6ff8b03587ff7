"""Our own API, ``/api/v1``: what an account has, and what is owed in its name. Its calls: :mod:`engine.api.calls`."""
