"""The SIP protocol core: messages, transactions, dialogs, SDP, digest. No sockets, no clock, no tasks.

Bytes and a time go in; bytes, events and the next deadline come out. Nothing in this
package imports :mod:`asyncio` or reads a clock.
"""
