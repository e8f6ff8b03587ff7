"""Commands of ``ivrea`` that are more than a few lines: a module each, with ``register(app)``."""
