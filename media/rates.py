"""The rates of everything inside the media plane: 8 kHz mono, frames of 20 ms, four phases to a frame.

Only prompts are also kept, and sent to those who can hear it, at 16 kHz.
"""

RATE = 8000
"""Samples per second."""

FRAME = 160
"""Samples in a frame of 20 ms."""

WIDE_RATE = 16000
"""Samples per second of wideband sound."""

FRAME_SECONDS = FRAME / RATE
PHASES = 4
"""Streams are dealt out over this many phases, so that packets do not leave as one burst."""

PHASE_SECONDS = FRAME_SECONDS / PHASES
