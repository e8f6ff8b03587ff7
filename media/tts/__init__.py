"""Speech from text: voices, the prompt store, and synthesis in a process of its own.

Nothing here imports the speech engine itself (espeak-ng is GPL-3) except
:mod:`media.tts.espeak`, which only ever runs as a separate process.
"""
