"""Images and labels of a data set that a Python program holds: a torch `Dataset`, arrays, or anything like them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from ..core.errors import StkdError
from .base import UNLABELLED, Request
from .decode import resize_square
from .image_arrays import STORE_LIMIT
from .usual_size import DEFAULT_SIZE

__all__ = ["PAIR", "Items", "as_labels", "class_names", "kind_of", "read_items", "unwrapped"]

_log = logging.getLogger(__name__)

PAIR = "arrays"
"""What a pair of images and labels is called."""

_IMAGE, _LABEL = ("image", "img"), ("label", "labels")
"""Names under which an item that is a mapping holds them."""


@dataclass(frozen=True)
class Items:
    """What one split holds.

    Attributes:
        images: uint8 (N, C, S, S).
        labels: int64 (N,).
        top: Value of a white pixel as the images were given: 1 or 255.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    top: int


def unwrapped(source: Any) -> Any:
    """The data set behind a DataLoader; anything else as it is.

    Raises:
        StkdError: It is no data set whose items have numbers.
    """
    if isinstance(source, DataLoader):
        _log.info(
            "the DataLoader's data set is taken; its sampler, batch size, collate function and transform are replaced "
            "by stkd's own"
        )
        source = source.dataset
    if _is_pair(source):
        return source
    if isinstance(source, IterableDataset) or not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        raise StkdError(
            f"{kind_of(source)} cannot be asked for its n-th image (iterable style); give a map-style Dataset with "
            "__len__ and __getitem__, such as list(...) of its (image, label) pairs"
        )
    return source


def kind_of(source: Any) -> str:
    """What a source is called: the class of the data set, `PAIR` for a pair of images and labels."""
    if isinstance(source, Subset):
        return kind_of(source.dataset)
    return PAIR if _is_pair(source) else type(source).__name__


def _is_pair(source: Any) -> bool:
    """Whether it is a pair of images and labels."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    first = source[0][0] if isinstance(source[0], list) and source[0] else source[0]
    return isinstance(first, np.ndarray | Tensor | Image.Image)


def class_names(source: Any) -> tuple[str, ...] | None:
    """Names of its classes, position = label; None where it has none.

    They are the attribute `classes` of torchvision's data sets, or the names of the label column of a Hugging Face one.
    """
    if isinstance(source, Subset):
        return class_names(source.dataset)
    if isinstance(source, ConcatDataset):
        return class_names(source.datasets[0])
    names = getattr(source, "classes", None)
    if names is None and isinstance(features := getattr(source, "features", None), Mapping):
        names = next((getattr(features[key], "names", None) for key in _LABEL if key in features), None)
    if names is None or not len(names):
        return None
    words = [", ".join(map(str, name)) if isinstance(name, tuple | list) else str(name) for name in names]
    # ImageNet has two cranes
    return tuple(word if words.count(word) == 1 else f"{word} ({label})" for label, word in enumerate(words))


def read_items(source: Any, request: Request) -> Items:
    """Read a split.

    Images become squares: of `request.image_size`, or else of their own size where all are equal squares, or else of
    `DEFAULT_SIZE`; the shorter side is resized and the centre cropped.

    Raises:
        StkdError: An image or a label is no such thing, or all do not fit into memory.
    """
    if _is_pair(source):
        images, labels = source
        if not isinstance(images, list):
            return _of_arrays(images, labels, request)
        if len(images) != len(labels):
            raise _other_lengths(len(images), len(labels))
        source = list(zip(images, labels, strict=True))
    pixels, known = _Squares(request), []
    for number, item in enumerate(_items(source)):
        image, label = _pair(item, number)
        pixels.add(_pixels(image, f"image {number}"))
        known.append(label)
    if not known:
        raise StkdError(f"{kind_of(source)} has no images; give a data set of images and labels")
    images, top = _scaled(pixels.stacked())
    return Items(images, as_labels(known), top)


def _of_arrays(images: Any, labels: Any, request: Request) -> Items:
    given = _numpy(images)
    if given.ndim not in (3, 4):
        raise StkdError(
            f"images have the shape {given.shape}; give (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels"
        )
    if not len(given):
        raise StkdError("there are no images; give at least one of each class")
    classes = _numpy(labels)
    if classes.ndim != 1:
        raise StkdError(f"labels have the shape {classes.shape}; give the number of the class, one an image")
    if classes.dtype.kind not in "iub":
        raise StkdError(f"labels are of type {classes.dtype}; give whole numbers from 0, one an image")
    if len(given) != len(classes):
        raise _other_lengths(len(given), len(classes))
    pixels = _as_numbers(_channels_first(given, isinstance(images, Tensor), batch=True), "the images")
    squares = _Squares(request)
    if request.image_size is None and request.crop_pct == 1 and pixels.shape[2] == pixels.shape[3]:
        squares.check(pixels.nbytes // pixels.itemsize)
    else:
        for image in pixels:
            squares.add(image)
        pixels = squares.stacked()
    images, top = _scaled(pixels)
    return Items(images, _checked_labels(classes.astype(np.int64)), top)


def _other_lengths(images: int, labels: int) -> StkdError:
    return StkdError(f"there are {images} images and {labels} labels; give one label an image")


# Items of a data set.


def _items(source: Any) -> Iterable[Any]:
    """Its items, without its transforms where it can do without."""
    skipped: set[str] = set()
    plain = _untransformed(source, skipped)
    if len(source) and plain is not source and not _readable(plain):
        plain = source
        skipped.clear()
    if skipped:
        _log.warning(
            "the transform of %s is not applied: stkd crops, flips, resizes and normalises by itself (--augment, "
            "--image-size)",
            " and ".join(sorted(skipped)),
        )
    elif len(source) and plain is source and not _same_twice(source):
        _log.warning(
            "%s gives another image each time it is asked for the same one (a random transform); each is taken once, "
            "as it comes",
            kind_of(source),
        )
    return (plain[i] for i in range(len(plain)))


def _untransformed(source: Any, skipped: set[str]) -> Any:
    """A copy without its transforms of images; transforms of labels stay. The source itself if it has none."""
    if isinstance(source, Subset | ConcatDataset):
        inner = [source.dataset] if isinstance(source, Subset) else source.datasets
        plain = [_untransformed(dataset, skipped) for dataset in inner]
        if all(a is b for a, b in zip(inner, plain, strict=True)):
            return source
        other: Any = copy.copy(source)
        if isinstance(source, Subset):
            other.dataset = plain[0]
        else:
            other.datasets = plain
        return other
    if _of_hugging_face(source):
        return source.with_format(None) if hasattr(source, "with_format") else source
    found = [name for name in ("transform", "transforms") if getattr(source, name, None) is not None]
    if not found or isinstance(source, list | tuple):
        return source
    of_label = getattr(source, "target_transform", None)
    try:
        other = copy.copy(source)
        for name in found:
            setattr(other, name, _as_it_is if name == "transform" else _Both(of_label))
    except Exception:  # whatever a class of one's own does when it is copied
        return source
    skipped.add(type(source).__name__)
    return other


def _of_hugging_face(source: Any) -> bool:
    """Whether it is a `datasets.Dataset`; the package need not be there to see that."""
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(source).__mro__)


def _as_it_is(image: Any) -> Any:
    return image


@dataclass(frozen=True)
class _Both:
    """A transform of image and label that leaves the image alone."""

    of_label: Any

    def __call__(self, image: Any, label: Any) -> tuple[Any, Any]:
        return image, label if self.of_label is None else self.of_label(label)


def _readable(source: Any) -> bool:
    """Whether its first item is an image with a label."""
    try:
        _pixels(_pair(source[0], 0)[0], "")
    except Exception:  # a data set that cannot do without its transform raises what it likes
        return False
    return True


def _same_twice(source: Any) -> bool:
    first, again = (_pixels(_pair(source[0], 0)[0], "image 0") for _ in range(2))
    return first.shape == again.shape and bool((first == again).all())


def _pair(item: Any, number: int) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        image = next((item[key] for key in _IMAGE if key in item), None)
        label = next((item[key] for key in _LABEL if key in item), None)
        if image is None or label is None:
            raise StkdError(f"item {number} has {', '.join(map(str, item))}; name its columns image and label")
        return image, label
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise StkdError(f"item {number} is {_shown(item)}; it must be an image and its label")


def _shown(item: Any) -> str:
    return f"a {type(item).__name__}" + (f" of {len(item)}" if isinstance(item, tuple | list) else "")


def _label(label: Any, number: int) -> int:
    if isinstance(label, Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    if not isinstance(label, int | np.integer):
        shown = f"{label!r}" if isinstance(label, float | str) else _shown(label)
        raise StkdError(f"the label of image {number} is {shown}; give the number of its class, a whole number from 0")
    return int(label)


def as_labels(labels: Sequence[Any]) -> NDArray[np.int64]:
    """Labels of images, int64 (N,).

    Raises:
        StkdError: One is no number of a class.
    """
    return _checked_labels(np.array([_label(label, number) for number, label in enumerate(labels)], np.int64))


def _checked_labels(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    if labels.min() < UNLABELLED:
        raise StkdError(f"a label is {labels.min()}; give numbers from 0, or {UNLABELLED} for an image without a class")
    return labels


# Pixels.


class _Squares:
    """Gathers images as squares of one size.

    Args:
        request: What size, and how they come to it; where it asks for none, equal squares keep theirs.
    """

    def __init__(self, request: Request) -> None:
        self._size, self._view = request.image_size, request.view
        self._images: list[NDArray[Any]] = []
        self._values = 0

    def add(self, image: NDArray[Any]) -> None:
        """Add an image (C, H, W).

        Raises:
            StkdError: All would be larger than `STORE_LIMIT`.
        """
        shape = self._images[0].shape if self._images else image.shape
        equal = shape[1:] == image.shape[1:] == (image.shape[1], image.shape[1])
        if self._size is None and not (equal and self._view["crop_pct"] == 1):
            self._size = image.shape[1] if equal else DEFAULT_SIZE
            self._images = [self._square(earlier) for earlier in self._images]
            self._values = sum(earlier.size for earlier in self._images)
        image = self._square(image)
        self._images.append(image)
        self._values += image.size
        self.check(self._values)

    def check(self, values: int) -> None:
        """See that so many pixels can be stored."""
        if values > STORE_LIMIT:
            raise StkdError(
                f"these images take more than {STORE_LIMIT >> 30} GiB of memory; give a smaller image_size, or save "
                "them as files in a folder of each class and give folder:PATH"
            )

    def stacked(self) -> NDArray[Any]:
        """All images (N, C, S, S); grey ones become RGB where one is.

        Raises:
            StkdError: Some hold floating-point numbers and some do not.
        """
        if len({image.dtype for image in self._images}) > 1:
            raise StkdError("some images hold floating-point numbers and some do not; give all of one type")
        channels = max(image.shape[0] for image in self._images)
        out = np.empty((len(self._images), channels, *self._images[0].shape[1:]), self._images[0].dtype)
        for row, image in zip(out, self._images, strict=True):
            row[:] = image
        return out

    def _square(self, image: NDArray[Any]) -> NDArray[Any]:
        if self._size is None:
            return image
        square = resize_square(torch.from_numpy(np.ascontiguousarray(image)), self._size, **self._view)
        return square.clamp(image.min(), image.max()).numpy()  # bicubic resizing goes beyond


def _pixels(image: Any, what: str) -> NDArray[Any]:
    """One image as uint8 or float32 (C, H, W), C = 1 or 3."""
    if isinstance(image, Image.Image):
        return _of_pillow(image, what)
    if not isinstance(image, Tensor | np.ndarray):
        raise StkdError(f"{what} is {_shown(image)}; give a PIL image, an array or a tensor")
    return _as_numbers(_channels_first(_numpy(image), isinstance(image, Tensor), what=what), what)


def _of_pillow(image: Image.Image, what: str) -> NDArray[Any]:
    if image.mode.startswith("I;16"):
        return ((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8)[None]
    if image.mode in ("I", "F"):
        return _as_numbers(np.asarray(image)[None], what)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    grey = image.mode in ("1", "L")
    pixels: NDArray[np.uint8] = np.atleast_3d(np.asarray(image.convert("L" if grey else "RGB"))).transpose(2, 0, 1)
    return pixels


def _numpy(array: Any) -> NDArray[Any]:
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        return (array.float() if array.is_floating_point() else array).numpy()  # type: ignore[no-any-return]
    return np.asarray(array)


def _channels_first(array: NDArray[Any], tensor: bool, *, batch: bool = False, what: str = "") -> NDArray[Any]:
    """Images (..., C, H, W); where both ends could be channels, a tensor has them first and an array last."""
    first = 1 if batch else 0
    if array.ndim == 2 + first:
        return np.expand_dims(array, first)
    fits = array.ndim == 3 + first
    leading, trailing = fits and array.shape[first] in (1, 3), fits and array.shape[-1] in (1, 3)
    if leading and (tensor or not trailing):
        return array
    if trailing:
        return np.moveaxis(array, -1, first)
    raise StkdError(
        f"{what or 'the images'} {'have' if batch else 'has'} the shape {array.shape}; give 1 or 3 channels, "
        "(C, H, W) or (H, W, C)"
    )


def _as_numbers(array: NDArray[Any], what: str) -> NDArray[Any]:
    """As uint8 or float32."""
    if not array.size:
        raise StkdError(f"{what} of shape {array.shape} has no pixels; leave it out")
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.kind not in "iu":
        raise StkdError(f"{what} is of type {array.dtype}; give numbers from 0 to 255 or from 0 to 1")
    if array.dtype != np.uint8 and not 0 <= array.min() <= array.max() <= 255:
        raise StkdError(f"{what} has values from {array.min()} to {array.max()}; give numbers from 0 to 255")
    return array.astype(np.uint8, copy=False)


def _scaled(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], int]:
    """Pixels as uint8, and what a white one was before."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels), 255
    low, high = float(pixels.min()), float(pixels.max())
    if not 0 <= low <= high <= 255:  # NaN is neither
        raise StkdError(
            f"images hold floating-point numbers from {low:.3g} to {high:.3g}; give them before normalisation, from 0 "
            "to 1 or from 0 to 255"
        )
    top = 1 if high <= 1 else 255
    return np.rint(pixels * (255 // top)).astype(np.uint8), top
