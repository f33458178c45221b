"""Methods, found by name. Adding one is adding a file here (and its test)."""

from .base import Method, Setup, Tapped, View, methods
from .spec import parse, resolve_mix

__all__ = ["Method", "Setup", "Tapped", "View", "methods", "parse", "resolve_mix"]
