"""Pictures of flows: a graph as SVG or as a page, and on it the way that a call went.

:func:`draw_svg` and :func:`draw_page` are the two ways in.
"""

from .layout import TooLarge
from .page import draw_page
from .svg import draw_svg

__all__ = ["TooLarge", "draw_page", "draw_svg"]
