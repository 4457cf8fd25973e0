"""An ensemble's card has what is true of all its members together, and nothing that was measured of one alone."""

import hashlib
import json
from typing import Any

import pytest

from tests.worker.inference.samples import card_fields, sample_card
from worker.errors import Code, ModelRefused
from worker.inference.ensemble_card import ensemble_card
from worker.inference.model_card import MOST_MEMBERS, ModelCard, parse_card


def member(number: int, **changes: Any) -> ModelCard:
    own = {"version": f"fold-{number}", "weights_sha256": f"{number:064x}"}
    training = {"data_digest": "d" * 64, "label_rule": "pathology", "fold": number}
    return sample_card(**(own | {"training": training} | changes))


def refusal(*cards: ModelCard, version: str = "1") -> ModelRefused:
    with pytest.raises(ModelRefused) as refused:
        ensemble_card(cards, version)
    return refused.value


def test_it_names_its_members_and_is_known_by_all_of_their_weights() -> None:
    cards = [member(number) for number in (1, 2, 3)]
    made = ensemble_card(cards, "2026.12")
    assert [(one.version, one.weights_sha256, one.training) for one in made.members] == [
        (card.version, card.weights_sha256, card.training) for card in cards
    ]
    lines = "".join(f"{card.weights_sha256}\n" for card in cards)
    assert made.weights_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert made.weights_digests == tuple(card.weights_sha256 for card in cards)
    assert parse_card(made.to_json()) == made


def test_a_member_keeps_what_its_training_started_from_and_an_old_card_has_nothing_of_it() -> None:
    first = {"weights_sha256": "f" * 64, "name": "DLR_BM", "version": "image", "training": {"data_digest": "e" * 64}}
    made = ensemble_card([member(1, initial_weights=[first]), member(2)], "1")
    assert [len(one.initial_weights) for one in made.members] == [1, 0]
    assert [training["data_digest"][0] for training in made.trainings] == ["d", "e", "d"]
    assert parse_card(made.to_json()) == made


def test_it_says_of_its_training_what_is_the_same_for_all() -> None:
    made = ensemble_card([member(1), member(2)], "1")
    assert made.training == {"data_digest": "d" * 64, "label_rule": "pathology"}
    assert [training["fold"] for training in made.trainings] == [1, 2]


def test_nothing_that_was_measured_of_one_member_is_said_of_the_mean() -> None:
    sites = {"A": {"threshold": 0.2, "temperature": 2.0, "lesions": 40, "positives": 9}}
    conformal = {"coverage": 0.9, "quantile": 0.5, "lesions": 20}
    made = ensemble_card(
        [member(number, temperature=2.0, sites=sites, conformal=conformal, metrics={"auc": 0.9}) for number in (1, 2)],
        "1",
    )
    assert (made.temperature, made.sites, made.conformal, made.metrics, made.reference) == (1, {}, None, {}, None)


@pytest.mark.parametrize(
    ("thresholds", "temperatures", "given", "expected"),
    [
        ((0.3, 0.5), (1.0, 1.0), None, 0.4),
        ((0.3, 0.5), (1.0, 1.0), 0.25, 0.25),
        ((0.5, 0.5), (3.0, 1.0), None, 0.5),
        ((0.8, 0.8), (0.5, 0.5), None, 0.6667),  # its logit, log 4, times one half is that of 2 to 1
    ],
    ids=["mean", "given", "one half at any temperature", "before the temperature"],
)
def test_its_threshold_is_the_mean_of_theirs_before_any_temperature_unless_one_is_given(
    thresholds: tuple[float, float], temperatures: tuple[float, float], given: float | None, expected: float
) -> None:
    both = enumerate(zip(thresholds, temperatures, strict=True))
    cards = [member(number, threshold=one, temperature=at) for number, (one, at) in both]
    assert ensemble_card(cards, "1", given).threshold == expected


def test_notices_and_uses_that_differ_are_not_lost() -> None:
    cards = [member(1, notice="demo"), member(2, notice="research"), member(3, notice="demo")]
    assert ensemble_card(cards, "1").notice == "demo; research"
    assert ensemble_card([member(1), member(2)], "1").intended_use == "tests"
    assert not ensemble_card([member(1), member(2, intended_use="others")], "1").states_its_use


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", "resnet50"),
        ("input_size", 64),
        ("channels", "rgb"),
        ("resize", "stretch"),
        ("pixel_mean", [0.1, 0.1, 0.1]),
        ("pixel_std", [0.1, 0.1, 0.1]),
        ("roi_margin", 0.0),
        ("age_mean", 50.0),
        ("age_sd", 10.0),
        ("test_time_flip", True),
        ("aggregation", "max"),
        ("stage", "image"),
        ("classes", ["malignant", "benign"]),
    ],
)
def test_members_that_are_fed_or_asked_something_else_are_refused_by_what_differs(name: str, value: object) -> None:
    refused = refusal(member(1), member(2, **{name: value}))
    assert (refused.code, refused.reason) == (Code.MEMBERS_DIFFER, f"they differ in {name}")


def test_members_of_both_models_or_of_two_label_rules_are_refused() -> None:
    assert "name" in refusal(member(1), member(2, name="DLR_LH")).reason
    other = member(2, training={"label_rule": "another"})
    assert refusal(member(1), other).reason == "they differ in label_rule"


def test_an_ensemble_of_ensembles_is_refused() -> None:
    inner = ensemble_card([member(1), member(2)], "inner")
    refused = refusal(inner, member(3))
    assert refused.code is Code.MEMBERS_DIFFER
    assert "inner is an ensemble itself" in refused.reason


@pytest.mark.parametrize("numbers", [(1,), (1, 1), range(1, MOST_MEMBERS + 2)], ids=["one", "the same twice", "many"])
def test_too_few_or_too_many_members_or_one_twice_are_refused(numbers: tuple[int, ...]) -> None:
    assert refusal(*(member(number) for number in numbers)).code is Code.CARD_INVALID


def test_a_card_whose_members_are_not_those_of_its_digest_is_refused() -> None:
    made = ensemble_card([member(1), member(2)], "1").model_dump(mode="json")
    swapped = card_fields(**(made | {"members": made["members"][::-1]}))
    with pytest.raises(ModelRefused) as refused:
        parse_card(json.dumps(swapped))
    assert refused.value.code is Code.CARD_INVALID
    assert "weights_sha256 is not that of these members" in refused.value.reason
