"""What options in YAML may not be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stkd.core.plain_yaml import parse_yaml, read_yaml, why

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "aliases that stand for much": (LAUGHS, "aliases stand for more than 100,000 values"),
    "refers to itself": ("milestones: &m [0.5, *m]", "refers to itself"),
    "mapping in itself": ("a: &a {b: *a}", "refers to itself"),
    "brackets": ("a: " + "[" * 20_000, "nested more than 50 deep"),
    "closed brackets": ("a: " + "[" * 20_000 + "]" * 20_000, "nested more than 50 deep"),
    "twice": ("epochs: 1\nlr: 1\nepochs: 2", "the key 'epochs' comes twice (line 3)"),
    "twice below": ("a: {seed: 1, seed: 1}", "the key 'seed' comes twice (line 1)"),
    "digits": ("epochs: " + "9" * 5000, "a number has 5,000 digits"),
    "digits in base 16": ("epochs: 0x" + "f" * 4000, "a number has 4,002 digits"),
    "date": ("epochs: 2024-13-45", "a value cannot be read"),
    "tag": ("epochs: !!timestamp soon", "a value cannot be read"),
    "object": ("epochs: !!python/object/apply:os.getpid []", "could not determine a constructor"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError) as refused:
        parse_yaml(text)
    assert said in why(refused.value)
    assert "\n" not in why(refused.value)


def test_anchors_and_merged_keys_stay_allowed() -> None:
    text = "base: &b {lr: 0.1, epochs: 2}\none: {<<: *b, lr: 0.2}\ntwo: *b"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml(text)["one"] == {"lr": 0.2, "epochs": 2}


text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]))
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | text


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20))
def test_all_that_is_written_is_read(value: object) -> None:
    written = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(written) == yaml.safe_load(written) == value


def test_only_files_of_text_and_of_usual_length_are_read(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_bytes(b"a: 1\n" + b"#" * (1 << 20))
    (tmp_path / "latin.yaml").write_bytes("name: Bär".encode("latin1"))
    for name, said in (("long", "longer than 1 MB"), ("latin", "no text in UTF-8")):
        with pytest.raises(yaml.YAMLError) as refused:
            read_yaml(tmp_path / f"{name}.yaml")
        assert said in why(refused.value)
