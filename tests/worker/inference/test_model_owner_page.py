"""What docs/model-owner.md tells a model's owner to write is what is accepted."""

import re
from pathlib import Path

import pytest
import torch

from worker.errors import Code
from worker.inference.model_card import BACKBONES, ModelCard
from worker.inference.network import DlrNetwork

PAGE = Path(__file__).parents[3].joinpath("docs", "model-owner.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_its_card_is_a_card() -> None:
    assert ModelCard.model_validate_json(_block("json")).version == "2026.11"


def test_its_table_has_every_field() -> None:
    rows = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| "))
    for field in ModelCard.model_fields:
        assert f"`{field}`" in rows, field


def test_it_names_every_backbone() -> None:
    for backbone in BACKBONES:
        assert f"`{backbone}`" in PAGE or f"`{backbone.removeprefix('resnet')}`" in PAGE, backbone


def test_its_tensor_names_are_the_networks() -> None:
    with torch.device("meta"):
        names = {name for name in DlrNetwork("resnet18").state_dict() if "backbone" not in name}
    for name in names:
        assert f"`{name.rsplit('.', 1)[0]}.weight`, `.bias`" in PAGE, name


def test_its_way_to_save_weights_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(_block("python").replace("resnet50", "resnet18"), {})  # noqa: S102  it is this repository's own page
    assert (tmp_path / "weights.safetensors").stat().st_size > 1_000_000


def test_every_code_it_names_is_one() -> None:
    codes = {code.value for code in Code}
    refusals = PAGE.split("## What is refused")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([a-z_]+)` \|", refusals, re.MULTILINE)
    assert len(named) == 13
    assert set(named) <= codes
