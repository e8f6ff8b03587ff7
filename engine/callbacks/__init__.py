"""What happened, on its way out: a journal on disk, the database, the customer's web server.

:mod:`~engine.callbacks.journal` takes each event in one write and survives a killed process;
:mod:`~engine.callbacks.writer` carries the journal into the database, each record exactly once;
:mod:`~engine.callbacks.outbox` delivers what is owed to web servers, at least once and in order;
:mod:`~engine.callbacks.fetch` is the HTTP client that refuses to reach where it must not.
"""
