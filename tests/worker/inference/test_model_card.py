"""A card says all or is refused, field by field."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.inference.samples import card_fields, sample_card
from worker.errors import Code, ModelRefused
from worker.imaging.jpeg_decoder import jpeg_decoder
from worker.inference.model_card import load_card


def _refusal(path: Path, content: str) -> str:
    path.write_text(content)
    with pytest.raises(ModelRefused) as refused:
        load_card(path)
    assert refused.value.code is Code.CARD_INVALID
    return refused.value.reason


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    card = sample_card(notice="demo", threshold=0.37)
    (tmp_path / "card.json").write_text(card.to_json())
    assert load_card(tmp_path / "card.json") == card


HALVES = {"edges": [0.0, 0.5, 1.0], "shares": [0.5, 0.5]}
REFERENCE = {"lesions": 100, "age_years": {"edges": [0.0, 50.0, 120.0], "shares": [0.4, 0.6]},
             "positive_probability": HALVES}  # fmt: skip


def test_a_reference_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({**card_fields(), "reference": REFERENCE}))
    card = load_card(tmp_path / "card.json")
    assert card.reference is not None
    assert card.reference.model_dump(mode="json") == REFERENCE
    assert card.record().card["reference"] == REFERENCE
    assert load_card(tmp_path / "card.json") == card


CONFORMAL = {"coverage": 0.9, "quantile": 0.62, "lesions": 312}


def test_a_temperature_and_a_conformal_set_come_back_as_they_were_written_and_are_off_without_being_asked_for(
    tmp_path: Path,
) -> None:
    plain = sample_card()
    assert (plain.temperature, plain.conformal) == (1.0, None)
    (tmp_path / "card.json").write_text(json.dumps(card_fields(temperature=1.7, conformal=CONFORMAL)))
    card = load_card(tmp_path / "card.json")
    assert card.record().card["conformal"] == CONFORMAL
    assert (card.temperature, card.record().card["temperature"]) == (1.7, 1.7)


def _reference(**changes: Any) -> dict[str, Any]:
    return {**REFERENCE, **changes}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", float("inf")),
        ("conformal", {**CONFORMAL, "coverage": 0.49}),
        ("conformal", {**CONFORMAL, "coverage": 1.0}),
        ("conformal", {**CONFORMAL, "quantile": 1.01}),
        ("conformal", {**CONFORMAL, "lesions": 0}),
        ("conformal", {**CONFORMAL, "lesions": 8}),
        ("conformal", {"coverage": 0.9}),
        ("conformal", {**CONFORMAL, "alpha": 0.1}),
        ("reference", _reference(lesions=0)),
        ("reference", _reference(name="cohort")),
        ("reference", _reference(age_years=None)),
        ("reference", _reference(age_years={"edges": [0.0, 130.0], "shares": [1.0]})),
        ("reference", _reference(age_years={"edges": [50.0, 0.0, 120.0], "shares": [0.4, 0.6]})),
        ("reference", _reference(age_years={"edges": [0.0, 0.0, 120.0], "shares": [0.4, 0.6]})),
        ("reference", _reference(age_years={"edges": [0.0, 50.0, 120.0], "shares": [1.0]})),
        ("reference", _reference(age_years={"edges": [0.0, 50.0, 120.0], "shares": [0.4, 0.5]})),
        ("reference", _reference(age_years={"edges": [0.0, 50.0, 120.0], "shares": [-0.5, 1.5]})),
        ("reference", _reference(age_years={"edges": [0.0], "shares": []})),
        ("reference", _reference(positive_probability={"edges": [0.0, 0.5, 0.9], "shares": [0.5, 0.5]})),
        ("reference", _reference(positive_probability={"edges": list(range(102)), "shares": [1 / 101] * 101})),
        ("schema_version", 2),
        ("name", "DLR_XY"),
        ("version", "../1"),
        ("version", "1.0\n"),
        ("version", ""),
        ("version", "v" * 65),
        ("backbone", "vgg16"),
        ("classes", ["benign", "malignant", "normal"]),
        ("classes", ["benign", "cancer"]),
        ("classes", ["low_risk", "high_risk"]),
        ("classes", ["benign", "benign"]),
        ("positive_class", "benign"),
        ("positive_class", "high_risk"),
        ("input_size", 31),
        ("input_size", 1025),
        ("input_size", 64.5),
        ("input_size", "64"),
        ("channels", "grey"),
        ("resize", "crop"),
        ("pixel_mean", [0.5, 0.5]),
        ("pixel_mean", [128.0, 128.0, 128.0]),
        ("pixel_std", [0.2, 0.2, 0.0]),
        ("roi_margin", -0.1),
        ("roi_margin", 2.1),
        ("age_mean", 300),
        ("age_sd", 0),
        ("age_sd", -1.0),
        ("threshold", 1.01),
        ("threshold", True),
        ("threshold", "0.5"),
        ("weights_sha256", "ABC"),
        ("intended_use", ""),
        ("training_data", ""),
        ("notice", None),
        ("metrics", {"auc": [0.9]}),
        ("created_at", "yesterday"),
        ("created_at", "2026-11-23T12:00:00"),
    ],
)
def test_a_wrong_value_is_refused_and_the_field_is_named(tmp_path: Path, field: str, value: Any) -> None:
    content = json.dumps(card_fields() | {field: value})
    assert field in _refusal(tmp_path / "card.json", content)


@pytest.mark.parametrize("field", sorted(set(card_fields()) - {"resize", "metrics"}))
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    fields = card_fields()
    del fields[field]
    assert field in _refusal(tmp_path / "card.json", json.dumps(fields))


def test_a_field_that_no_card_has_is_refused(tmp_path: Path) -> None:
    assert "treshold" in _refusal(tmp_path / "card.json", json.dumps(card_fields(treshold=0.5)))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"threshold": NaN}'])
def test_what_is_no_card_at_all_is_refused(tmp_path: Path, content: str) -> None:
    assert _refusal(tmp_path / "card.json", content)


def test_a_card_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    content = json.dumps(card_fields() | {"threshold": float("nan"), "age_mean": float("inf")})
    reason = _refusal(tmp_path / "card.json", content)
    assert "threshold" in reason
    assert "age_mean" in reason


def test_a_card_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused) as refused:
        load_card(tmp_path / "card.json")
    assert refused.value.code is Code.CARD_INVALID
    assert str(tmp_path) not in refused.value.reason


def test_a_refusal_of_classes_says_what_differs(tmp_path: Path) -> None:
    reason = _refusal(tmp_path / "card.json", json.dumps(card_fields(classes=["low_risk", "high_risk"])))
    assert "classes of DLR_BM are benign and malignant, not low_risk and high_risk" in reason


def test_classes_may_come_in_the_order_of_the_networks_outputs() -> None:
    card = sample_card(classes=["malignant", "benign"])
    assert card.positive_index == 0
    assert card.negative_class == "benign"


def test_the_database_gets_the_whole_card_and_no_empty_notice() -> None:
    record = sample_card(notice="").record()
    assert (record.name, record.version, record.notice) == ("DLR_BM", "1.0", None)
    assert json.loads(json.dumps(dict(record.card)))["created_at"] == "2026-11-23T12:00:00Z"
    assert sample_card(notice="demo").record().notice == "demo"


def test_a_card_warns_where_jpeg_images_are_decoded_by_another_library_than_in_training() -> None:
    assert sample_card().decoder_warning is None, "of phantoms, and of cards from before"
    assert sample_card(jpeg_decoder=jpeg_decoder()).decoder_warning is None
    warning = sample_card(jpeg_decoder="libjpeg 6b").decoder_warning
    assert warning is not None
    assert "decoded by libjpeg 6b, here it is " + jpeg_decoder() in warning
