import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

from tests.worker.web.conftest import Kept, client_of
from worker.reporting.explanation import number_in_name, picture_name
from worker.web.heat_maps import HeatMaps
from worker.web.site import Site

PNG = b"\x89PNG\r\n\x1a\n and more"
BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
STUDY = uuid4()


def put(
    folder: Path, model: str = "DLR_BM", study: UUID = STUDY, content: bytes = PNG, image: int | None = None
) -> Path:
    file = folder / picture_name(study, 1, model, image)
    file.write_bytes(content)
    return file


def test_a_heat_map_is_found_by_study_lesion_and_model(tmp_path: Path) -> None:
    put(tmp_path)
    maps = HeatMaps(tmp_path)
    assert maps.png(STUDY, 1, "DLR_BM", BEFORE) == PNG
    assert maps.models(STUDY, 1, BEFORE) == ("DLR_BM",)
    assert maps.models(STUDY, 2, BEFORE) == maps.models(uuid4(), 1, BEFORE) == ()
    put(tmp_path, "DLR_LH")
    assert maps.models(STUDY, 1, BEFORE) == ("DLR_BM", "DLR_LH")


@pytest.mark.parametrize(
    ("image", "scored", "number"), [(1, [1, 2, 3], None), (3, [1, 2, 3], 3), (2, [2, 3], None), (3, [2, 3], 3)]
)
def test_the_first_image_that_was_scored_has_no_number_in_the_name_of_its_heat_map(
    tmp_path: Path, image: int, scored: list[int], number: int | None
) -> None:
    assert number_in_name(image, scored) == number
    put(tmp_path, content=PNG + bytes([image]), image=number)
    assert HeatMaps(tmp_path).png(STUDY, 1, "DLR_BM", BEFORE, number) == PNG + bytes([image])
    assert HeatMaps(tmp_path).models(STUDY, 1, BEFORE, number) == ("DLR_BM",)
    assert HeatMaps(tmp_path).models(STUDY, 1, BEFORE, 2) == ()


@pytest.mark.parametrize("what", ["older than the result", "no PNG", "a link", "a pipe", "too large", "not ended"])
def test_nothing_is_shown_of_a_file_that_is(what: str, tmp_path: Path) -> None:
    file, ended = put(tmp_path), BEFORE
    match what:
        case "older than the result":
            ended = datetime.now(UTC) + timedelta(seconds=5)
        case "no PNG":
            file.write_bytes(b"<svg>")
        case "a link":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case "a pipe":
            file.unlink()
            os.mkfifo(file)
        case "too large":
            os.truncate(file, 9 << 20)
    assert HeatMaps(tmp_path).png(STUDY, 1, "DLR_BM", None if what == "not ended" else ended) is None


def test_without_a_folder_there_is_none() -> None:
    assert HeatMaps(None).models(STUDY, 1, BEFORE) == ()


def test_a_lesion_has_a_switch_for_each_heat_map_and_none_without(
    site: Site, kept: Kept, sign_in: Callable[..., TestClient], tmp_path: Path
) -> None:
    reader, study = sign_in(), f"/studies/{kept.study_id}"
    assert "heat" not in reader.get(study).text
    shown = client_of(replace(site, heat_maps=HeatMaps(tmp_path)))
    shown.cookies = reader.cookies
    assert "There is no heat map of this lesion." in shown.get(study).text
    put(tmp_path, "DLR_LH", kept.study_id)
    html = shown.get(study).text
    assert html.count('type="radio"') == 2
    assert "There is no heat map" not in html
    assert f'src="{study}/lesions/1/images/1/heat/DLR_LH.png"' in html
    assert shown.get(f"{study}/lesions/1/images/1/heat/DLR_LH.png").content == PNG
    for other in (
        "1/images/1/heat/DLR_BM",
        "2/images/1/heat/DLR_LH",
        "1/images/2/heat/DLR_LH",
        "1/images/1/heat/..%2Fx",
        "x/images/1/heat/DLR_LH",
        "1/images/x/heat/DLR_LH",
    ):
        assert shown.get(f"{study}/lesions/{other}.png").status_code == 404
    assert client_of(site).get(f"{study}/lesions/1/images/1/heat/DLR_LH.png").status_code == 401
