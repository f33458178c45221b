"""Local servers: the explore page, which mixes images and shows what teacher and student make of the mixture, and, in
the files http_*.py and batching.py, the prediction server.
"""

from __future__ import annotations

from .explorer import Answer, Explorer, shares

__all__ = ["Answer", "Explorer", "shares"]
