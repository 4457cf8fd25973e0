"""From a folder of real images to a verdict: both stages, on sets of which one has no ages, into service and back.

The sets are beside the checkout or not at all (`tests.shared.REAL_SETS`); without them this is skipped.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests import command_line
from tests.end_to_end.conftest import Service
from tests.servers import NOT_FOR_KEEPS
from tests.shared import real_set
from worker.dataset.manifest import Split
from worker.dataset.manifest_file import read_manifest
from worker.dataset.manifest_image import read_lesion
from worker.demo.dicom import Header, write_ultrasound
from worker.evaluation.scores_file import read_scores
from worker.services import embedded_postgres
from worker.services.running_services import running_services
from worker.services.supervisor import Supervisor
from worker.settings import isolated

pytestmark = pytest.mark.slow

IMAGE_STAGE = """
backbone = "resnet18"
init = "random"
input_size = 64
epochs = 3
batch = 16
learning_rate = 1e-3
"""
AGE_STAGE = 'backbone = "resnet18"\ninput_size = 64\n'
STATED = {"intended_use": "tests on public sets", "notice": "a test's, not for clinical use"}
BETTER_THAN_CHANCE = 0.6


class Hospital:
    """A home in which commands run, and the folder that their files go to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"

    def dlr(self, *arguments: object, status: tuple[int, ...] = (0,)) -> Any:
        """Run a command that answers in JSON."""
        environment = command_line.clean_environment(DLR_HOME=str(self.home))
        done = command_line.dlr(*arguments, environment=environment)
        assert done.returncode in status, done.stderr
        return json.loads(done.stdout) if "json" in arguments else done.stdout

    def manifest(self, layout: str, *shares: float) -> Path:
        """Import a set, and split it; return the manifest."""
        whole, split, root = self.folder / f"{layout}.csv", self.folder / f"{layout}-split.csv", real_set(layout)
        self.dlr("dataset", "import", layout, root, "--root", root, "-o", whole)
        parts = zip(("--train", "--validation", "--test"), shares, strict=True)
        self.dlr("dataset", "split", whole, "--root", root, "-o", split, *(word for part in parts for word in part))
        return split

    def trained(self, which: str, manifest: Path, layout: str, output: str, config: str, *more: object) -> Any:
        """Train; return the card, on which somebody has stated the use."""
        (self.folder / "training.toml").write_text(config)
        given = ("--manifest", manifest, "--root", real_set(layout), "--config", self.folder / "training.toml")
        made = self.dlr(
            "train", which, *given, "--device", "cpu", "--log", "none", "-o", self.folder / output, *more,
            "--format", "json",
        )  # fmt: skip
        path = self.folder / output / "card.json"
        path.write_text(json.dumps(made["card"] | STATED))
        return made["card"]

    def add(self, output: str, card: str = "card.json") -> None:
        self.dlr("models", "add", self.folder / output / card, self.folder / output / "weights.safetensors")


@contextmanager
def serving(home: Path) -> Iterator[Service]:
    """The servers and both workers in a home; they load the versions that are active there."""
    variables = {"DLR_HOME": str(home)}
    with (
        isolated(),
        mock.patch.dict(os.environ, variables),
        mock.patch.dict(embedded_postgres.SETTINGS, NOT_FOR_KEEPS),
        running_services() as services,
        Supervisor(services.home, lambda _: None) as supervisor,
    ):
        for queue in ("intake", "inference"):
            supervisor.start(services.worker(queue))
        yield Service(services, supervisor)


def test_from_folders_of_real_images_to_a_verdict(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    ageless, aged = hospital.manifest("bus-bra", 0.6, 0.15, 0.25), hospital.manifest("breast", 0.4, 0.2, 0.4)
    assert len(read_manifest(ageless, real_set("bus-bra")).rows) == 563
    assert len(read_manifest(aged, real_set("breast")).rows) == 256

    first = hospital.trained("bm", ageless, "bus-bra", "image", IMAGE_STAGE, "--stages", "image")
    assert float(first["metrics"]["auc_lower_95"]) > BETTER_THAN_CHANCE
    hospital.add("image")
    refused = command_line.dlr(
        "models", "activate", "DLR_BM", first["version"], "--force", environment={"DLR_HOME": str(hospital.home)}
    )
    assert "model_image_only" in refused.stderr

    second = ("--stages", "age", "--init", tmp_path / "image" / "weights.safetensors", "--missing-age", "exclude")
    lh, bm = (
        hospital.trained(which, aged, "breast", which, AGE_STAGE, *second, "--age-learns-on", "train")
        for which in ("lh", "bm")
    )
    for output in ("lh", "bm"):
        hospital.add(output)
    hospital.dlr("models", "activate", "DLR_LH", lh["version"])

    calibrated(hospital)
    in_json = ("--format", "json")
    on_aged = ("--manifest", aged, "--root", real_set("breast"))
    checked = hospital.dlr(
        "models", "calibrate", "DLR_BM/calibrated", "--check", aged, "--root", real_set("breast"), *in_json,
        status=(0, 3),
    )  # fmt: skip
    assert checked["pooled"]["covered"]["promised"] == 0.9
    compared = hospital.dlr(
        "models", "compare", f"DLR_BM/{bm['version']}", "DLR_BM/calibrated", *on_aged, *in_json, status=(0, 3)
    )
    assert compared["models"][0]["differences"]["largest"] < 1e-6, "a conformal set changes no score"
    hospital.dlr("models", "activate", "DLR_BM", "calibrated")
    evaluated(hospital, on_aged, ageless)
    scored_and_read(hospital, aged, {"lh": lh["version"], "bm": "calibrated"})


def calibrated(hospital: Hospital) -> None:
    """Give DLR_BM a conformal set, from the lesions that neither stage learned from, as a version of its own."""
    folder = hospital.folder / "bm"
    hospital.dlr(
        "models", "calibrate", folder / "card.json", "--scores", folder / "scores.csv", "--coverage", 0.9,
        "--version", "calibrated", "-o", folder / "calibrated.json",
    )  # fmt: skip
    hospital.add("bm", "calibrated.json")


def evaluated(hospital: Hospital, on_aged: tuple[object, ...], ageless: Path) -> None:
    quick = ("--resamples", 0, "--format", "json")
    with_age = hospital.dlr("evaluate", *on_aged, *quick, status=(0, 3))
    assert with_age["restratifications"]
    assert any(STATED["notice"] in notice for notice in with_age["notices"])
    by_image = hospital.dlr(
        "evaluate", "--manifest", ageless, "--root", real_set("bus-bra"), "--image-only", *quick, status=(0,)
    )
    assert any("by the image alone" in notice for notice in by_image["notices"])
    [auc] = [one["auc"] for one in by_image["questions"][0]["judged"] if one["model"] == "DLR_BM"]
    assert auc["interval"]["low"] > BETTER_THAN_CHANCE, "the embedding is the first stage's"


def scored_and_read(hospital: Hospital, aged: Path, versions: dict[str, str]) -> None:
    """Send a held-out 4A lesion as DICOM, find it on the worklist with the score of the table, and give a verdict."""
    manifest = read_manifest(aged, real_set("breast"))
    by_name = {one.lesion_id: one for one in read_scores(hospital.folder / "bm" / "scores.csv").material.lesions}
    row, lesion = next(
        (row, lesion)
        for row in manifest.included.values()
        if row.split is Split.TEST and row.birads == "4A" and row.age_years is not None
        if (lesion := read_lesion(manifest.root, row)).frame.ndim == 2
    )
    [expected] = [one for name, one in by_name.items() if row.patient_key in (name.split("/")[0], one.patient)]
    with serving(hospital.home) as service:
        header = Header(generate_uid(), "Roe^Mary", "REAL1", "REAL1", "20261123", patient_age=f"{row.age_years:03.0f}Y")
        sop = write_ultrasound(service.storage_root / "real.dcm", header, [lesion.frame], ExplicitVRLittleEndian)
        region = {name: getattr(lesion.region, name) for name in ("x", "y", "width", "height")}
        mark = {"lesion_id": "L1", "sop_instance_uid": sop, "frame": 1, "birads": "4A", "roi": region}
        service.push({
            "schema_version": 1, "study_instance_uid": header.study_instance_uid, "accession_number": "REAL1",
            "images": {"kind": "files", "paths": ["real.dcm"]}, "lesions": [mark],
        })  # fmt: skip
        study = service.ended(header.study_instance_uid)
        assert study.state == "done"
        said = {one.model_name: one for one in study.lesions[0].predictions}
        assert {name: one.model_version for name, one in said.items()} == {
            "DLR_LH": versions["lh"], "DLR_BM": versions["bm"],
        }  # fmt: skip
        [score] = expected.scores.values()
        assert said["DLR_BM"].positive_probability == pytest.approx(score, abs=0.03)
        listed = json.loads(service.dlr("worklist", "--format", "json").stdout)
        assert str(study.study_id) in [one["study_id"] for one in listed]
        verdicts = hospital.folder / "verdicts.csv"
        verdicts.write_text(
            "study,revision,lesion_id,final_birads,reader,read_at,lh_version,bm_version\n"
            f"{study.study_id},1,L1,4A,bea,2026-11-24T08:00:00Z,{versions['lh']},{versions['bm']}\n"
        )
        assert service.dlr("verdict", "import", verdicts).returncode == 0
        [verdict] = service.sql("SELECT final_birads, reader FROM lesion_verdict WHERE study_id = %s", study.study_id)
        assert (verdict["final_birads"], verdict["reader"]) == ("4A", "bea")
