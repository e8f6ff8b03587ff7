"""Commands of ``ivrea``, one module each: ``register(app)`` adds its command."""
