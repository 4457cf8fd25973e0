"""The floors of the house, as its contract in ``pyproject.toml`` says, with what each room says of itself."""

import ast
import re
import tomllib
from pathlib import Path

from tests.places import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]


def floors_of(package: str) -> list[list[str]]:
    """Return the modules and rooms on each floor of ``worker`` or ``db``, the highest floor first."""
    [layers] = [contract["layers"] for contract in CONTRACTS if contract.get("containers") == [package]]
    return [re.split(r" [|:] ", layer) for layer in layers]


def floors_table() -> str:
    """Return the table of the page: each floor, numbered from the ground, and what stands on it."""
    rows = []
    for package in ("worker", "db"):
        floors = floors_of(package)
        for number, names in zip(range(len(floors), 0, -1), floors, strict=True):
            rows += [f"| {package} {number} | {_row(Path(package, name))} |" for name in names]
    return "\n".join(["| floor | room or module | what it does |", "| --- | --- | --- |", *rows])


def _row(place: Path) -> str:
    is_room = (ROOT / place).is_dir()
    file = place / "__init__.py" if is_room else place.with_suffix(".py")
    said = ast.get_docstring(ast.parse((ROOT / file).read_text("utf-8"))) or ""
    sentence = " ".join(said.split("\n\n")[0].split()).replace("``", "`")
    return f"`{place}/` | {sentence}" if is_room else f"`{file}` | {sentence}"
