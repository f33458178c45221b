"""Of the site alone: documents that lie at the repository's root become pages, and links lead to pages and files."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
FILES = ("results/*.json", "examples/*.py")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the root's documents, and the files that they name."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for file in sorted(file for pattern in FILES for file in ROOT.glob(pattern)):
        files.append(File.generated(config, file.relative_to(ROOT).as_posix(), abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages; what is no page keeps its words alone."""
    place = {page: name for name, page in PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(match: re.Match[str]) -> str:
        image, words, path, anchor = match.groups(default="")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        if target in PAGES:
            page_of = PAGES[target]
        elif target.startswith("docs/") and "." in target:
            page_of = target.removeprefix("docs/")
        elif any(PurePosixPath(target).match(pattern) for pattern in FILES):
            page_of = target
        else:
            return words
        return f"{image}[{words}]({posixpath.relpath(page_of, posixpath.dirname(page.file.src_uri))}{anchor})"

    return LINK.sub(link, markdown)
