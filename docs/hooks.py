"""Of the site alone: documents that lie at the repository's root become pages, and their links lead to pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the root's documents, and the result files that they name."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for file in sorted((ROOT / "results").glob("*.json")):
        files.append(File.generated(config, f"results/{file.name}", abs_src_path=str(file)))
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
        elif target.startswith("results/") and target.endswith(".json"):
            page_of = target
        else:
            return words
        return f"{image}[{words}]({posixpath.relpath(page_of, posixpath.dirname(page.file.src_uri))}{anchor})"

    return LINK.sub(link, markdown)
