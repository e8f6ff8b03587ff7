"""What a call should do: step graphs, the compilers that make them and the executor that walks them.

Pure: no sockets, no clock, no audio. Imports neither ``engine`` nor ``media``.
"""
