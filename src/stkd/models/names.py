"""The grammar of model names.

ZOO-NAME, timm/NAME, torchvision/NAME, transformers/TYPE, hf/OWNER/NAME, hf/FOLDER, simkd/STUDENT/WIDTH.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..core.errors import StkdError

__all__ = ["check_name", "hub_folder", "needs_hub", "split_name", "without_folders"]

_NAME = re.compile(r"[\w.+@-]+(/[\w.+@-]+)*")
_LONGEST = 256
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")
_FILES = {
    ".onnx": "a teacher in an ONNX file is given by itself, --teacher-weights FILE.onnx; a student cannot be one",
    ".safetensors": "it is a file of weights; give it as weights beside the name of its model",
    ".pth": "it is a file of weights; give it as weights beside the name of its model",
    ".pt": "it is a file of weights; give it as weights beside the name of its model",
}


def split_name(name: str) -> tuple[str, str]:
    """Source and the name within it; the source of our own models is "".

    Raises:
        StkdError: The name is empty or that of a file.
    """
    if not name:
        raise StkdError("the name of a model is empty; give one such as resnet20 or timm/resnet18")
    if what := _FILES.get(Path(name).suffix.lower()):
        raise StkdError(f"{name} is no name of a model: {what}")
    source, slash, rest = name.partition("/")
    return (source, rest) if slash else ("", name)


def hub_folder(rest: str) -> Path | None:
    """The local folder that hf/REST means, or None where it means a repository of the Hugging Face hub.

    Args:
        rest: OWNER/NAME, OWNER/NAME@REVISION, or a folder with a config.json.

    Raises:
        StkdError: It is neither.
    """
    folder = Path(rest).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise StkdError(f"hf/{rest}: the folder has no config.json; give a folder that a model was saved to")
    if not _REPOSITORY.fullmatch(rest):
        raise StkdError(f"hf/{rest} is neither OWNER/NAME nor a folder with a config.json; check the name")
    return None


def without_folders(name: str) -> str:
    """A name as others may read it: of hf/FOLDER the last folder alone.

    Example:
        >>> without_folders("hf//home/me/models/vit"), without_folders("hf/owner/vit"), without_folders("resnet20")
        ('hf/vit', 'hf/owner/vit', 'resnet20')
    """
    rest = name.removeprefix("hf/")
    return name if rest == name or _REPOSITORY.fullmatch(rest) else f"hf/{Path(rest).name}"


def needs_hub(name: str) -> bool:
    """Whether building a model of this name reads more than stkd, timm and torchvision bring along."""
    while name.startswith("simkd/"):
        name = name.removeprefix("simkd/")
    return name.startswith("hf/")


def check_name(name: object) -> None:
    """Check that a name that was read from a file has the form of a name.

    Raises:
        StkdError: It has not.
    """
    if not isinstance(name, str) or len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise StkdError(f"{str(name)[:60]!r} is no name of a model")
