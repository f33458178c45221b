"""What is wrong with teacher, images and budget, found before an hour is spent; nothing here trains or prints."""

from __future__ import annotations

from .check import check, preflight, refuse, warn_once
from .finding import Finding, Level, Report
from .subject import Subject, checks

__all__ = ["Finding", "Level", "Report", "Subject", "check", "checks", "preflight", "refuse", "warn_once"]
