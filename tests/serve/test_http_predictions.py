"""What the prediction server answers to images: what `stkd predict` says about the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stkd import __version__


def form(images: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", item) for item in images.items()]


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [Path(row["image"]).name for row in found] == [Path(row["image"]).name for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert one.get("error") == other.get("error")
        for a, b in zip(one.get("model", []), other.get("model", []), strict=True):
            assert a["class"] == b["class"]
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-5)


def test_as_predict(client: Any, kinds: dict[str, bytes], served_file: Path, tmp_path: Path, stkd: Any) -> None:
    images = {**kinds, "cut.jpg": kinds["plain.jpg"][:900], "text.png": b"no image", "empty.png": b""}
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    said = stkd("predict", served_file, *(tmp_path / name for name in images), "--json")
    assert said.code == 1
    expected = json.loads(said.out)
    answer = client.post("/predict", files=form(images))
    assert answer.status_code == 200
    assert sum("error" in row for row in expected) == 3
    assert_same(answer.json(), expected)
    assert str(tmp_path) not in answer.text


def test_an_image_as_the_body(client: Any, kinds: dict[str, bytes]) -> None:
    expected = client.post("/predict", files=form({"a.jpg": kinds["rotated.jpg"], "a.png": kinds["clear.png"]})).json()
    for name, kind in (("rotated.jpg", "image/jpeg"), ("clear.png", "application/octet-stream")):
        answer = client.post("/predict", content=kinds[name], headers={"Content-Type": kind})
        assert answer.status_code == 200
        assert_same(answer.json(), [{**expected.pop(0), "image": ""}])


def test_top(client: Any, kinds: dict[str, bytes]) -> None:
    two, one, many = (client.post(f"/predict{q}", files=form(kinds)).json() for q in ("", "?top=1", "?top=999"))
    assert [len(row["model"]) for row in two] == [2] * len(kinds)
    assert [row["model"] for row in one] == [row["model"][:1] for row in two]
    assert [len(row["model"]) for row in many] == [2] * len(kinds)
    assert all(sum(c["probability"] for c in row["model"]) == pytest.approx(1, abs=1e-5) for row in two)


def test_a_bomb_beside_a_good_image(client: Any, kinds: dict[str, bytes], bomb: bytes) -> None:
    answer = client.post("/predict", files=form({"bomb.png": bomb, "good.jpg": kinds["plain.jpg"]}))
    assert answer.status_code == 200
    bad, good = answer.json()
    assert bad == {"image": "bomb.png", "error": "has too many pixels for one image; scale it down or remove it"}
    assert good["model"]


def test_pixels_are_bounded_before_they_are_decoded(server: Any, kinds: dict[str, bytes]) -> None:
    answer = server(pixels=1_000_000).post("/predict", files=form({"large.jpg": kinds["large.jpg"][:2000]}))
    assert answer.status_code == 422  # the rest of the file is not even there
    assert answer.json() == {"error": "large.jpg has more than 1 million pixels; scale it down"}


def test_none_can_be_read(client: Any) -> None:
    one = client.post("/predict", files=form({"a.png": b"text"}))
    two = client.post("/predict", files=form({"a.png": b"text", "b.png": b"text"}))
    body = client.post("/predict", content=b"text", headers={"Content-Type": "image/png"})
    assert one.status_code == two.status_code == body.status_code == 422
    said = "is broken or no image (its format is not known); delete or replace it"
    assert one.json() == {"error": f"a.png {said}"}
    assert two.json() == {"error": f"none of the 2 images can be read; the first: a.png {said}"}
    assert body.json() == {"error": f"the image {said}"}


def test_names_come_back_as_they_are(client: Any, kinds: dict[str, bytes]) -> None:
    name = "../ä<b>\\😀.jpg"
    assert client.post("/predict", files=form({name: kinds["plain.jpg"]})).json()[0]["image"] == name


def test_health(client: Any, served_file: Path) -> None:
    health = client.get("/health").json()
    assert {name: health[name] for name in ("model", "classes", "size", "channels", "version")} == {
        "model": "cnn4",
        "classes": ["kiwi", "plum"],
        "size": 64,
        "channels": 3,
        "version": __version__,
    }
    assert health["runtime"].startswith("onnxruntime ")
    assert str(served_file.parent) not in client.get("/health").text


def test_how_to_use_it(client: Any, kinds: dict[str, bytes]) -> None:
    usage = client.get("/", headers={"Host": "localhost:8000"})
    assert usage.headers["content-type"].startswith("text/plain")
    assert "curl -F image=@photo.jpg http://localhost:8000/predict" in usage.text
    described = client.get("/openapi.json").json()
    operation = described["paths"]["/predict"]["post"]
    assert set(operation["requestBody"]["content"]) == {"multipart/form-data", "image/*"}
    assert {"200", "413", "415", "503", "504"} <= set(operation["responses"])
    assert [p["name"] for p in operation["parameters"]] == ["top"]
    for page in ("/docs", "/redoc"):  # FastAPI's own load scripts from a CDN
        assert client.get(page).status_code == 404
