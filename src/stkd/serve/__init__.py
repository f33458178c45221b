"""A local page that mixes images and shows what teacher and student make of the mixture."""

from __future__ import annotations

from .explorer import Answer, Explorer, shares

__all__ = ["Answer", "Explorer", "shares"]
