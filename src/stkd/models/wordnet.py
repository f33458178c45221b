"""Classes by their WordNet ids, which ImageNet's classes have whatever they are called."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from .class_names import loosely

__all__ = ["described", "wordnet_ids", "wordnet_places"]

_ID = re.compile(r"(?:^|\()(n\d{8})(?![0-9A-Za-z])")
"""n02123394, n02123394_Persian_cat, Persian cat (n02123394)."""


def wordnet_ids(names: Sequence[str], outputs: int = 1000) -> list[str | None]:
    """The WordNet id of each class name, None where it has none or could have several.

    A name is an id, begins with one, or is what ImageNet calls one of its classes: all of its words, or one of them.

    Args:
        names: Class names.
        outputs: Number of classes of the ImageNet whose words are meant; the usual 1,000 where there is no such one.

    Example:
        >>> wordnet_ids(["n02123394", "n02123394-Persian", "Persian cat", "persian_cat", "crane", "my cat"])
        ['n02123394', 'n02123394', 'n02123394', 'n02123394', None, None]
    """
    words = _ids_by_words(outputs)
    found = []
    for name in names:
        match = _ID.search(name.strip())
        found.append(match[1] if match else words.get(loosely(name)))
    return found


def wordnet_places(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where each of some classes is among a model's outputs, by WordNet id; -1 where that is not known.

    Args:
        own: The model's class names, in the order of its outputs.
        wanted: Others.

    Example:
        >>> wordnet_places(["tench, Tinca tinca", "goldfish, Carassius auratus"], ["n01443537", "emu"])
        [1, -1]
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, number in enumerate(wordnet_ids(own, len(own))):
        if number is not None:
            places[number].append(place)
    known = {number: at[0] for number, at in places.items() if len(at) == 1}
    return [known.get(number, -1) if number else -1 for number in wordnet_ids(wanted, len(own))]


def described(name: str, outputs: int = 1000) -> str:
    """A class name with ImageNet's words for it, where it is an id alone.

    Example:
        >>> described("n02123394"), described("Persian cat")
        ('n02123394 (Persian cat)', 'Persian cat')
    """
    words = _words(outputs).get(name, "")
    return f"{name} ({words.partition(',')[0]})" if words else name


@cache
def _words(outputs: int) -> Mapping[str, str]:
    """What ImageNet calls each of its classes, by WordNet id."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    info = ImageNetInfo(infer_imagenet_subset({"num_classes": outputs}) or "imagenet-1k")
    return dict(zip(info.label_names(), info.label_descriptions(), strict=True))  # type: ignore[no-untyped-call]


@cache
def _ids_by_words(outputs: int) -> Mapping[str, str]:
    """WordNet ids by the words that stand for one class alone; ImageNet has two cranes and two maillots."""
    found: dict[str, set[str]] = defaultdict(set)
    for number, words in _words(outputs).items():
        for word in (words, *words.split(",")):
            found[loosely(word)].add(number)
    return {word: numbers.pop() for word, numbers in found.items() if len(numbers) == 1}
