"""Which output of a teacher stands for which class: by name, by WordNet id, as a file says; or one line that helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from timm.data.imagenet_info import ImageNetInfo

from stkd import models
from stkd.core.config import CheckConfig
from stkd.core.errors import StkdError
from stkd.models.files import ModelInfo
from stkd.models.wordnet import wordnet_ids
from stkd.teachers import LiveTeacher
from stkd.teachers.class_map import class_map, read_class_map
from stkd.teachers.loading import load_teacher, teacher_of

NUMBERS = tuple(ImageNetInfo().label_names())
WORDS = tuple(ImageNetInfo().label_descriptions())
SOME = ("n02123394", "n01440764", "n02085620")  # Persian cat, tench, Chihuahua


@pytest.mark.parametrize(
    "wanted",
    [
        SOME,
        ("n02123394_Persian_cat", "n01440764-tench", "n02085620-Chihuahua"),
        ("Persian cat", "tench", "Chihuahua"),
        ("persian_cat", "Tinca tinca", "CHIHUAHUA"),
        ("Persian cat (n02123394)", "tench (n01440764)", "Chihuahua (n02085620)"),
    ],
)
@pytest.mark.parametrize("own", [NUMBERS, WORDS], ids=["numbers", "words"])
def test_by_wordnet_id(own: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    found = class_map(own, wanted)
    assert [NUMBERS[place] for place in found.positions] == list(SOME)
    assert found.how == "by name" or "by WordNet id" in found.how


def test_a_word_of_two_classes_is_none_of_them() -> None:
    assert wordnet_ids(["crane", "n02012849", "n03126707"]) == [None, "n02012849", "n03126707"]
    with pytest.raises(StkdError, match="does not know 1 of them: 'crane' "):
        class_map(NUMBERS, ("crane",))


def test_names_go_before_ids() -> None:
    """A teacher of cranes that lift, and of birds that are called by a number."""
    found = class_map(("crane", "n01440764", "emu"), ("crane", "tench"))
    assert found.positions == (0, 1)
    assert found.how == "1 by WordNet id and 1 by name"


def test_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_text('# own,teacher\nkitty,"tabby, tabby cat"\nfish , 1\n\nbird,\nlizard\tcommon iguana\n', "utf-8-sig")
    given = read_class_map(file)
    assert given == {"kitty": "tabby, tabby cat", "fish": "1", "lizard": "common iguana"}
    found = class_map(WORDS, ("lizard", "fish", "hen", "kitty"), given)
    assert [WORDS[place].partition(",")[0] for place in found.positions] == [
        "common iguana",
        "goldfish",
        "hen",
        "tabby",
    ]
    assert found.how == "3 by the class map and 1 by name"


def test_what_a_file_says_goes_before_names_and_is_part_of_the_teacher(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    own = ModelInfo("cnn2", ("cat", "dog", "emu"), 3, 8, (0.5,) * 3, (0.2,) * 3)
    data = ModelInfo("student", ("dog", "cat"), 3, 8, (0.5,) * 3, (0.2,) * 3)
    module = models.create("cnn2", num_classes=3)
    file.write_text("cat,dog\ndog,cat\n")
    plain, swapped = LiveTeacher(module, own, data), LiveTeacher(module, own, data, given_map=read_class_map(file))
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(plain.logits(images), module(images)[:, [1, 0]])
    assert torch.equal(swapped.logits(images), module(images)[:, [0, 1]])
    assert plain.fingerprint() != swapped.fingerprint()
    other = swapped.with_pixels((0.1,) * 3, (0.3,) * 3)
    assert torch.equal(other.class_map, torch.tensor([0, 1]))  # type: ignore[arg-type]
    assert not torch.equal(other.logits(images), swapped.logits(images))
    assert torch.equal(swapped.logits(images), module(images)[:, [0, 1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat", "line 1 is not 'class,teacher class'"),
        ("a,b,c\n", "line 1 is not 'class,teacher class'; put names with commas in double quotes"),
        ("cat,dog\ncat,emu\n", "line 2: class 'cat' is there twice"),
        ("# nothing\ncat,\n", "maps no class"),
        ("ca,dog\n", "unknown class in the class map 'ca'; did you mean cat?"),
        ("cat,dgo\n", "unknown class of the teacher, for 'cat' in the class map, 'dgo'; did you mean dog?"),
        ("cat,3\n", "unknown class of the teacher, for 'cat' in the class map, '3'"),
        ("cat,emu\n", "'cat' and 'emu' are one class to the teacher"),
    ],
)
def test_files_that_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(StkdError, match=re.escape(words)) as caught:
        class_map(("dog", "emu", "fox"), ("cat", "emu"), read_class_map(tmp_path / "map.csv"))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="cannot read the class map"):
        read_class_map(tmp_path / "none.csv")


def test_strangers_are_counted_and_their_nearest_named_and_all_listed(tmp_path: Path) -> None:
    wanted = ("daisy", "rosehip", "tulip", "sunflowr", "dandelion")
    with pytest.raises(StkdError) as caught:
        class_map(NUMBERS, wanted)
    text = str(caught.value)
    assert "\n" not in text
    assert "the teacher has 1,000 classes, the data set 5, and the teacher does not know 3 of them: 'tulip'" in text
    assert "'sunflowr'" in text
    assert "--teacher-probe true" in text
    match = re.search(r"both lists: (\S+)\)", text)
    assert match is not None
    file = Path(match[1])
    lines = file.read_text().splitlines()
    assert lines[1:6] == ["daisy,n11939491", "rosehip,n12620546", "tulip,", "sunflowr,", "dandelion,"]
    assert lines[7] == "# 0 n01440764 (tench)"
    done = tmp_path / "done.csv"
    done.write_text(re.sub("tulip,|sunflowr,|dandelion,", lambda m: m[0] + str(len(m[0])), file.read_text()))
    assert class_map(NUMBERS, wanted, read_class_map(done)).positions[2:] == (6, 9, 10)


def test_the_nearest_is_named_by_its_words() -> None:
    with pytest.raises(StkdError, match=re.escape("'goldfishes' (nearest: 'n01443537 (goldfish)')")):
        class_map(NUMBERS, ("goldfishes",))


def test_published_weights_and_folders_of_wordnet_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    folder = tmp_path / "saved"
    folder.mkdir()
    saved = timm.create_model("test_resnet")
    timm.models.save_for_hf(saved, folder, safe_serialization=True)
    data = ModelInfo("student", ("n02123394", "tench"), 3, 32, (0.5,) * 3, (0.2,) * 3)
    teacher = load_teacher(f"hf/{folder}", None, data, torch.device("cpu"), pretrained=True, size=32)
    assert teacher.mapping.positions == (283, 0)
    assert teacher.mapping.how == "1 by WordNet id and 1 by name"
    monkeypatch.chdir(tmp_path)
    other, device = Path("hf/saved"), torch.device("cpu")
    given = {"teacher": other.as_posix(), "teacher_pretrained": True, "more_teachers": (other,), "teacher_size": 32}
    both = teacher_of(CheckConfig(data="digits", **given), data, device)  # type: ignore[arg-type]
    assert [one.info.model for one in both.teachers] == ["hf/saved", "hf/saved"]  # type: ignore[union-attr]


def test_lists_that_cannot_be_written_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("stkd.teachers.class_map.write_atomic", full)
    with pytest.raises(StkdError, match="does not know 1 of them: 'emu'") as caught:
        class_map(("cat", "dog"), ("emu",))
    assert "both lists" not in str(caught.value)
