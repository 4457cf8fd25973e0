"""Studies that are elsewhere, had from PACSs that nobody here wrote: Orthanc by DICOM and DICOMweb, and dcmqrscp."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import _config

from tests.pacs_servers import PacsPeer, dcmqrscp, orthanc
from tests.worker.imaging.dicom_files import LIMITS, picture, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.clinical.categories import Birads, Priority
from worker.contract import StudyJob, parse_pushed
from worker.errors import Refused, Unavailable
from worker.image_access import Dicomweb, Pacs, PacsNode, Server
from worker.imaging import query_retrieve
from worker.imaging.archive import Archives
from worker.imaging.identity import read_identity
from worker.imaging.image_source import ImageSource
from worker.intake.fetching import Fetcher
from worker.intake.inbox import Inbox
from worker.intake.receiver import Receiver, listening
from worker.intake.receiver_config import ReceiverConfig
from worker.network.port import free_port
from worker.study import Lesion, MarkedImage, OnPacs, Study

if TYPE_CHECKING:
    from worker.intake.accept_study import Intake

pytestmark = pytest.mark.slow

STUDY, OTHER, THIRD = "1.2.826.0.1.3680043.10.77.1", "1.2.826.0.1.3680043.10.77.2", "1.2.826.0.1.3680043.10.77.3"


@dataclass(frozen=True)
class Hospital:
    """A PACS with three studies: one with its report, one of the same accession number as the third, and no report."""

    peers: dict[str, PacsPeer]
    images: list[str]
    receive_port: int

    def fetcher(self, root: Path, move_to: str | None = None, **limits: Any) -> Fetcher:
        nodes = {name: PacsNode(peer.ae_title, "127.0.0.1", peer.port, move_to) for name, peer in self.peers.items()}
        web = Dicomweb({"web": Server(self.peers["orthanc"].dicomweb_url, {})}, 1 << 28, 20)
        return Fetcher(Archives(web, Pacs(nodes, **{"timeout_s": 60, **limits})), root, LIMITS)


def study_files(folder: Path, second: str) -> tuple[list[Path], list[str]]:
    """Write three images, the second in a transfer syntax and one that no lesion is on, a report; two studies more."""
    folder.mkdir()
    common = {"StudyInstanceUID": STUDY, "AccessionNumber": "A-77", "SeriesInstanceUID": f"{STUDY}.1"}
    syntaxes = {1: ExplicitVRLittleEndian, 2: second}
    images = [
        write(folder / f"{n}.dcm", picture(seed=n), syntax, SOPInstanceUID=f"{STUDY}.1.{n}", **common)
        for n, syntax in syntaxes.items()
    ]
    findings = [Finding(images[0], rectangle(4, 4, 20, 16)), Finding(images[1], rectangle(8, 8, 20, 16), name="other")]
    report = write_report(folder / "sr.dcm", findings, AccessionNumber="A-77")
    extra = write(folder / "3.dcm", picture(seed=3), SOPInstanceUID=f"{STUDY}.1.3", **common)
    twins = [
        write(
            folder / f"{uid[-1]}-twin.dcm", picture(seed=9), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1.1",
            SeriesInstanceUID=f"{uid}.1", AccessionNumber="TWICE",
        )
        for uid in (OTHER, THIRD)
    ]  # fmt: skip
    return [*images, report, extra, *twins], [f"{STUDY}.1.1", f"{STUDY}.1.2"]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    files, images = study_files(folder / "files", RLELossless)
    # dcmqrscp gives by C-GET what is not compressed.
    plain, _ = study_files(folder / "plain", ExplicitVRLittleEndian)
    move_to = ("DLR", free_port(folder / "port"))
    with ExitStack() as running:
        peers = {
            "orthanc": running.enter_context(orthanc(folder / "orthanc", move_to)),
            "dcmqrscp": running.enter_context(dcmqrscp(folder / "dcmqrscp", plain, move_to)),
        }
        peers["orthanc"].store(*files)
        yield Hospital(peers, images, move_to[1])


def asked(server: str = "orthanc", **said: Any) -> dict[str, Any]:
    kind = "dicomweb" if server == "web" else "pacs"
    return {"schema_version": 1, "images": {"kind": kind, "server": server}, **said}


def whole(fetcher: Fetcher, **said: Any) -> StudyJob:
    return fetcher.whole(parse_pushed(asked(**said)))


@pytest.mark.parametrize("server", ["orthanc", "dcmqrscp", "web"])
def test_one_accession_number_becomes_the_study_with_its_report_s_lesions_and_the_images_they_are_on(
    hospital: Hospital, tmp_path: Path, server: str
) -> None:
    job = whole(hospital.fetcher(tmp_path), server=server, accession_number="A-77", priority="urgent", age_years=51.0)
    assert (job.study_instance_uid, job.accession_number, job.priority, job.age_years) == (
        STUDY,
        "A-77",
        "urgent",
        51.0,
    )
    paths = job.model_dump()["images"]["paths"]
    had = sorted(read_identity(tmp_path / path, LIMITS).sop_instance_uid for path in paths)
    assert had == hospital.images, "only the images that lesions are on"
    assert sorted(image.sop_instance_uid for lesion in job.marked for image in lesion.images) == hospital.images
    assert len(list(tmp_path.rglob("*.dcm"))) == 2, "nothing else is kept"


def test_a_process_that_receives_too_is_given_whole_instances(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)  # as `listening` sets it, for the whole process
    job = whole(hospital.fetcher(tmp_path), accession_number="A-77")
    assert len(job.marked) == 2


@pytest.mark.parametrize("server", ["orthanc", "dcmqrscp", "web"])
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"accession_number": "TWICE"}, "accession_ambiguous"),
        ({"accession_number": "A-7"}, "study_not_on_server"),
        ({"accession_number": "A-7?"}, "study_not_on_server"),
        ({"accession_number": "*"}, "study_not_on_server"),
        ({"study_instance_uid": "1.2.3.4"}, "study_not_on_server"),
        ({"study_instance_uid": OTHER}, "lesions_missing"),
    ],
    ids=range(6),
)
def test_what_can_not_be_found_is_refused_with_a_code_and_leaves_nothing(
    hospital: Hospital, tmp_path: Path, server: str, said: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        whole(hospital.fetcher(tmp_path), server=server, **said)
    assert (str(refused.value), list(tmp_path.iterdir())) == (code, [])


def test_a_job_with_its_lesions_is_asked_for_its_study_alone(hospital: Hospital, tmp_path: Path) -> None:
    lesions = [{"lesion_id": "L1", "sop_instance_uid": hospital.images[0], "birads": "4A"}]
    job = whole(hospital.fetcher(tmp_path), accession_number="A-77", lesions=lesions)
    assert (job.study_instance_uid, job.images.kind, list(tmp_path.iterdir())) == (STUDY, "pacs", [])


def on_pacs(server: str, *uids: str) -> Study:
    lesions = tuple(Lesion(uid, (MarkedImage(uid, None, None),), Birads.LOW_SUSPICION) for uid in uids)
    return Study(uuid4(), STUDY, Priority.ROUTINE, None, OnPacs(server), lesions)


@pytest.mark.parametrize("server", ["orthanc", "dcmqrscp"])
def test_images_of_given_lesions_are_had_when_they_are_scored_and_one_that_is_not_there_has_its_code(
    hospital: Hospital, tmp_path: Path, server: str
) -> None:
    pacs = hospital.fetcher(tmp_path).archives.pacs
    source = ImageSource(tmp_path, Dicomweb({}, 1, 1), pacs)
    with source.folder(on_pacs(server, hospital.images[1], "1.2.3.4")) as folder:
        [path] = folder.paths
        assert dcmread(folder.root / path).SOPInstanceUID == hospital.images[1]
        assert {uid: str(why) for uid, why in folder.refused.items()} == {"1.2.3.4": "sop_instance_not_found"}
    assert not folder.root.exists()


@pytest.mark.parametrize("limits", [{"max_instances": 1}, {"max_bytes": 2000}], ids=["instances", "bytes"])
def test_a_study_that_needs_more_than_is_allowed_is_refused(
    hospital: Hospital, tmp_path: Path, limits: dict[str, int]
) -> None:
    with pytest.raises(Refused, match="fetch_too_large"):
        whole(hospital.fetcher(tmp_path, **limits), accession_number="A-77")


def test_a_server_that_the_settings_do_not_name_and_one_that_is_away_are_told_apart(
    hospital: Hospital, tmp_path: Path
) -> None:
    fetcher = hospital.fetcher(tmp_path)
    with pytest.raises(Refused, match="pacs_server_unknown"):
        whole(fetcher, server="elsewhere", accession_number="A-77")
    away = Pacs({"orthanc": PacsNode("ORTHANC", "127.0.0.1", free_port(tmp_path / "port"))})
    with pytest.raises(Unavailable, match="pacs_unavailable"):
        whole(replace(fetcher, archives=replace(fetcher.archives, pacs=away)), accession_number="A-77")
    wrong = Pacs({"orthanc": replace(hospital.fetcher(tmp_path).archives.pacs.servers["orthanc"], ae_title="OTHER")})
    with pytest.raises(Unavailable, match="pacs_unavailable"):
        whole(replace(fetcher, archives=replace(fetcher.archives, pacs=wrong)), accession_number="A-77")


def test_more_jobs_at_once_than_are_allowed_wait_for_another_turn(hospital: Hospital, tmp_path: Path) -> None:
    fetcher = hospital.fetcher(tmp_path, at_once=1)
    with fetcher._turns, pytest.raises(Unavailable, match="pacs_unavailable"):
        whole(fetcher, accession_number="A-77")
    assert whole(fetcher, accession_number="A-77").study_instance_uid == STUDY


@contextmanager
def receiving(root: Path, port: int) -> Iterator[Inbox]:
    """Run what answers `dlr receive`'s address, with nobody behind it who closes studies."""
    with Inbox.held(root) as inbox:
        receiver = Receiver(inbox, cast("Intake", None), LIMITS, 30.0, lambda work: work(), asked_as="DLR")
        with listening(receiver, ReceiverConfig("127.0.0.1", port, "DLR", (), 4)):
            yield inbox


@pytest.mark.parametrize("server", ["orthanc", "dcmqrscp"])
def test_a_pacs_that_only_sends_is_asked_to_send_to_dlr_receive_which_opens_no_study_of_it(
    hospital: Hospital, tmp_path: Path, server: str
) -> None:
    with receiving(tmp_path, hospital.receive_port) as inbox:
        job = whole(hospital.fetcher(tmp_path, move_to="DLR"), server=server, accession_number="A-77")
        assert inbox.due(0) == []
    had = [read_identity(tmp_path / path, LIMITS).sop_instance_uid for path in job.model_dump()["images"]["paths"]]
    assert sorted(had) == hospital.images
    assert all(path.startswith("received/") for path in job.model_dump()["images"]["paths"])


def test_given_lesions_on_a_pacs_that_only_sends_are_had_before_the_study_is_on_record(
    hospital: Hospital, tmp_path: Path
) -> None:
    lesions = [{"lesion_id": "L1", "sop_instance_uid": hospital.images[0], "birads": "4A"}]
    fetcher = hospital.fetcher(tmp_path, move_to="DLR")
    asked_for = parse_pushed(asked(study_instance_uid=STUDY, lesions=lesions))
    assert fetcher.is_needed(asked_for)
    with receiving(tmp_path, hospital.receive_port):
        job = fetcher.whole(asked_for)
    assert (job.images.kind, len(job.model_dump()["images"]["paths"])) == ("files", 1)


@pytest.mark.parametrize("server", ["orthanc", "dcmqrscp"])
def test_a_pacs_that_says_it_sent_what_never_comes_is_refused_after_a_bounded_wait(
    hospital: Hospital, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_retrieve, "SENT_S", 0.2)
    (tmp_path / "here").mkdir()
    with receiving(tmp_path / "elsewhere", hospital.receive_port), pytest.raises(Refused) as refused:
        whole(hospital.fetcher(tmp_path / "here", move_to="DLR"), server=server, accession_number="A-77")
    assert str(refused.value) == "pacs_sent_nothing"


@pytest.mark.parametrize("server", ["orthanc", "dcmqrscp"])
def test_a_pacs_that_does_not_know_where_to_send_is_told_as_that(
    hospital: Hospital, tmp_path: Path, server: str
) -> None:
    with pytest.raises(Refused, match="pacs_failed"):
        whole(hospital.fetcher(tmp_path, move_to="NOBODY"), server=server, accession_number="A-77")
