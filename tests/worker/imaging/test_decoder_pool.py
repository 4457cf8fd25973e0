"""Decoders: the same pixels as in process, and no file that takes its worker or its neighbours with it."""

import fcntl
import math
import os
import signal
import socket
import subprocess
import sys
import termios
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydantic import TypeAdapter
from pydicom.uid import RLELossless

from tests.waiting import pace, patience, until
from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, marked_image, picture, write, write_texts
from worker.contract import MAX_LESIONS
from worker.errors import Code, DlrError, LesionRefused, StudyRefused, Unavailable
from worker.imaging import decoder_pool
from worker.imaging.decoder_pool import DecoderPool, is_sound
from worker.imaging.decoder_process import LesionsDecoded
from worker.imaging.lesion import Marked, Region, decode_lesions
from worker.study import Examination, LesionImage, Roi, Scanner

HASTY_S = pace(2.0)


def made(processes: int, timeout_s: float = patience(20)) -> Iterator[DecoderPool]:
    pool = DecoderPool(LIMITS, processes, timeout_s)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    """A pool of one decoder, which starts another one when a test has ended that."""
    yield from made(1)


@pytest.fixture(scope="module")
def hasty() -> Iterator[DecoderPool]:
    """A pool of one decoder, which soon has waited enough."""
    yield from made(1, HASTY_S)


@pytest.fixture
def fresh() -> Iterator[DecoderPool]:
    """A pool of two decoders, neither of which was started before the test."""
    yield from made(2)


def load(pool: DecoderPool, path: Path, roi: Roi | None = None) -> LesionImage:
    return load_one(pool, path.parent, [path.name], roi)


def load_one(pool: DecoderPool, root: Path, names: list[str], roi: Roi | None = None) -> LesionImage:
    (loaded,) = pool.load(pool.index(root, names, STUDY_UID), [marked_image(roi=roi)], 47.0)
    if isinstance(loaded, LesionRefused):
        raise loaded
    return loaded


def idle(pool: DecoderPool) -> list[Any]:
    """The decoders of a pool that are started and have nothing to do."""
    return [decoder for decoder in pool._idle.queue if decoder is not None]


def process(pool: DecoderPool) -> psutil.Process:
    """The one decoder of a pool."""
    (decoder,) = idle(pool)
    return psutil.Process(decoder._process.pid)


def has_a_request(decoder: Any) -> bool:
    """Whether a decoder was sent something that it has not taken yet."""
    untaken = array("i", [0])
    fcntl.ioctl(decoder._connection.fileno(), termios.TIOCOUTQ, untaken)
    return untaken[0] > 0


def at_work(pool: DecoderPool, path: Path, meanwhile: Callable[[psutil.Process], object]) -> LesionImage | DlrError:
    """Load a lesion by a decoder that stands still, and do something to it meanwhile."""
    load(pool, path)
    (decoder,) = idle(pool)
    still = process(pool)
    still.suspend()
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(load, pool, path)
        until(lambda: has_a_request(decoder))
        meanwhile(still)
        try:
            return loading.result(patience(60))
        except DlrError as error:
            return error


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("ISO_IR 100", b"M\xdcL"), ("ISO_IR 192", "MÜL".encode()), True),
        (("GB18030", "王小东".encode("gb18030")), ("ISO_IR 192", "王小东".encode()), True),
        (("ISO_IR 13", b"\xd4\xcf\xc0\xde"), ("ISO_IR 13", b"\xd4\xcf\xc0\xde"), True),
        ((None, b"M\xdcL"), (None, b"M\xdcL"), True),
        ((None, b"M\xdcL"), ("ISO_IR 100", b"M\xdcL"), True),
        ((None, b"M\xdcL"), (None, b"M\xd6L"), False),
        ((None, b"M\xffL"), (None, b"M\xfeL"), False),
        (("ISO_IR 192", b"M\0L"), ("ISO_IR 192", b"ML"), False),
        (("ISO_IR 192", b"M\xed\xa0\x80L"), ("ISO_IR 192", b"M\xed\xa0\x81L"), False),
    ],
)
def test_whether_files_are_one_patient_s_is_told_of_any_bytes(
    pool: DecoderPool, tmp_path: Path, one: tuple[str | None, bytes], other: tuple[str | None, bytes], same: bool
) -> None:
    for name, (declared, patient) in zip("ab", (one, other), strict=True):
        write_texts(tmp_path / name, declared, PatientID=patient)
    if same:
        assert not pool.index(tmp_path, ["a", "b"], STUDY_UID).failed
    else:
        with pytest.raises(StudyRefused) as refused:
            pool.index(tmp_path, ["a", "b"], STUDY_UID)
        assert refused.value.code is Code.PATIENT_MISMATCH


@pytest.mark.parametrize("name", [b"M\xfcller", "王".encode("gb18030"), "王 \U0001f642".encode(), b"a\nb"])
def test_the_storage_may_have_a_name_of_any_bytes(pool: DecoderPool, tmp_path: Path, name: bytes) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    for file in ("a", "b"):
        write(root / file, picture())
    assert load_one(pool, root, ["a"], Roi(3, 4, 20, 10)).region == Roi(3, 4, 20, 10)
    assert not pool.index(root, ["a", "b"], STUDY_UID).failed
    assert pool.same_image(root / "a", root / "b")
    (tmp_path / "link").symlink_to(root)
    assert load_one(pool, tmp_path, ["link/a"]).frame.any()


@pytest.mark.parametrize("colour", [False, True])
def test_a_decoder_gives_the_pixels_region_and_age_that_reading_here_gives(
    pool: DecoderPool, tmp_path: Path, colour: bool
) -> None:
    header = {"InstitutionName": "Example Hospital", "ImageLaterality": "R", "StudyDate": "20261123"}
    path = write(tmp_path / "a.dcm", picture(colour=colour), Manufacturer="Acme", **header)
    here = decode_lesions(Marked(str(path), SOP_UID, 1, (Roi(3, 4, 20, 10),), 47.0), LIMITS)
    there = load(pool, path, Roi(3, 4, 20, 10))
    assert np.array_equal(there.frame, here.frame)
    assert there.frame.dtype == np.uint8
    assert here.regions == (Region(there.region, there.region_source, there.size, there.quality_warnings),)
    assert there.quality_warnings
    assert there.scanner == here.scanner == Scanner("Acme", "Example Hospital")
    assert there.examination == here.examination == Examination("right", date(2026, 11, 23))
    assert there.age == here.age


def test_the_lesions_of_a_frame_share_it(pool: DecoderPool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    marked = [marked_image(roi=Roi(3, 4, 20, 10)), marked_image(roi=Roi(99, 0, 5, 5)), marked_image()]
    first, outside, last = pool.load(pool.index(tmp_path, [path.name], STUDY_UID), marked, 47.0)
    assert isinstance(first, LesionImage)
    assert isinstance(last, LesionImage)
    assert first.frame is last.frame
    assert first.region == Roi(3, 4, 20, 10)
    assert isinstance(outside, LesionRefused)
    assert outside.code is Code.ROI_OUTSIDE_IMAGE


def test_a_thousand_lesions_of_a_frame_are_one_request(pool: DecoderPool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    marked = [marked_image(roi=Roi(number % 40, 3, 20, 10)) for number in range(MAX_LESIONS)]
    loaded = pool.load(pool.index(tmp_path, [path.name], STUDY_UID), marked, 47.0)
    assert [one.region.x for one in loaded if isinstance(one, LesionImage)] == [n % 40 for n in range(MAX_LESIONS)]


def test_many_threads_each_get_their_own_lesion(fresh: DecoderPool, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.dcm", picture(seed=seed)) for seed in range(24)]
    with ThreadPoolExecutor(8) as threads:
        images = list(threads.map(lambda path: load(fresh, path), paths))
    assert all(np.array_equal(image.frame, picture(seed=seed)) for seed, image in enumerate(images))
    assert len(idle(fresh)) == 2


def test_a_refusal_and_a_storage_that_is_away_come_as_they_are(
    pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.dcm", picture(), Modality="MG")
    with pytest.raises(LesionRefused, match="modality_not_ultrasound"):
        load(pool, path)
    with pytest.raises(Unavailable, match="storage_unavailable"):
        pool.index(tmp_path / "away", ["a.dcm", "b.dcm"], STUDY_UID)
    with pytest.raises(Unavailable, match="storage_unavailable"):
        load_one(pool, tmp_path / "away", ["a.dcm"])


def _cut(path: Path) -> Path:
    write(path, picture())
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _text(path: Path) -> Path:
    path.write_text("no DICOM at all")
    return path


BAD: dict[str, Callable[[Path], Path]] = {
    "file_not_found": lambda path: path,
    "file_not_dicom": _text,
    "file_truncated": _cut,
    "study_uid_mismatch": lambda path: write(path, picture(), StudyInstanceUID="1.2.3"),
    "sop_instance_not_found": lambda path: write(path, picture(), SOPInstanceUID="1.2.3"),
    "modality_not_ultrasound": lambda path: write(path, picture(), Modality="MG"),
}


@pytest.mark.parametrize("code", BAD)
def test_a_study_s_only_file_is_refused_as_one_among_several_is(pool: DecoderPool, tmp_path: Path, code: str) -> None:
    path = BAD[code](tmp_path / "bad.dcm")
    other = write(tmp_path / "other.dcm", picture(), SOPInstanceUID="1.2.3.4")
    for names in ([path.name], [path.name, other.name]):
        with pytest.raises(LesionRefused) as refused:
            load_one(pool, tmp_path, names)
        assert refused.value.code == code


@pytest.mark.parametrize("name", ["../outside.dcm", "link.dcm"])
def test_a_study_s_only_file_is_confined(pool: DecoderPool, tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    outside = write(tmp_path / "outside.dcm", picture())
    (tmp_path / "root" / "link.dcm").symlink_to(outside)
    with pytest.raises(LesionRefused, match="path_outside_storage"):
        load_one(pool, tmp_path / "root", [name])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_dies_once_at_work_costs_nothing(pool: DecoderPool, tmp_path: Path, number: int) -> None:
    path = write(tmp_path / "a.dcm", picture())

    def die(decoder: psutil.Process) -> None:
        decoder.send_signal(number)
        with suppress(psutil.NoSuchProcess):
            decoder.resume()

    image = at_work(pool, path, die)
    assert isinstance(image, LesionImage)
    assert np.array_equal(image.frame, picture())


def test_a_file_that_ends_each_decoder_is_refused_after_two_and_the_next_file_is_read(
    fresh: DecoderPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    poison, good = write(tmp_path / "poison.dcm", picture()), write(tmp_path / "good.dcm", picture(seed=2))
    others = set(psutil.Process().children())
    dead: set[psutil.Process] = set()
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(load, fresh, poison)

        def is_over() -> bool:
            for decoder in set(psutil.Process().children()) - others - dead:
                decoder.kill()
                dead.add(decoder)
            return loading.done()

        until(is_over)
    with pytest.raises(LesionRefused) as refused:
        loading.result()
    assert refused.value.code is Code.DECODER_CRASHED
    assert len(dead) == 2
    assert "signal 9" in caplog.text
    assert "poison" not in caplog.text
    assert np.array_equal(load(fresh, good).frame, picture(seed=2))


def test_a_file_that_is_never_done_is_refused_in_time(hasty: DecoderPool, tmp_path: Path) -> None:
    error = at_work(hasty, write(tmp_path / "a.dcm", picture()), lambda _decoder: None)
    assert isinstance(error, LesionRefused)
    assert error.code is Code.DECODE_TIMEOUT
    assert np.array_equal(load(hasty, tmp_path / "a.dcm").frame, picture())


def test_a_decoder_s_start_is_not_decoding(hasty: DecoderPool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    load(hasty, path)
    process(hasty).kill()
    others = set(psutil.Process().children())
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(load, hasty, path)
        (starting,) = until(lambda: set(psutil.Process().children()) - others)
        starting.suspend()
        time.sleep(1.2 * HASTY_S)  # the pause: longer than decoding may take
        assert not loading.done()
        starting.resume()
        assert np.array_equal(loading.result(patience(30)).frame, picture())


def test_a_decoder_that_does_not_start_is_not_held_against_the_file(
    hasty: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.dcm", picture())
    load(hasty, path)
    process(hasty).kill()
    with monkeypatch.context() as patch:
        patch.setattr(decoder_pool, "START_S", 0)
        with pytest.raises(Unavailable) as away:
            load(hasty, path)
    assert "did not start" in away.value.reason
    assert np.array_equal(load(hasty, path).frame, picture())


def test_waiting_for_a_decoder_is_not_decoding(hasty: DecoderPool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    load(hasty, path)
    busy = hasty._idle.get()
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(load, hasty, path)
        time.sleep(1.2 * HASTY_S)  # the pause: longer than decoding may take
        assert not loading.done()
        hasty._idle.put(busy)
        assert np.array_equal(loading.result(patience(30)).frame, picture())


def test_a_decoder_knows_no_secret_and_can_write_no_file(
    fresh: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_DATABASE_PASSWORD", "a-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    load(fresh, write(tmp_path / "a.dcm", picture()))
    decoder = process(fresh)
    assert "a-secret" not in str(decoder.environ())
    assert decoder.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert decoder.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert decoder.cwd() == "/"


WORKER = """
import signal, sys
from pathlib import Path
from tests.worker.imaging.dicom_files import LIMITS, STUDY_UID, marked_image
from worker.imaging.decoder_pool import DecoderPool
pool, path = DecoderPool(LIMITS, 1, timeout_s=20), Path(sys.argv[1])
pool.load(pool.index(path.parent, [path.name], STUDY_UID), [marked_image()], 47.0)
print("ready", flush=True)
signal.pause()
"""


def test_a_decoder_goes_when_its_worker_was_killed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, env=dict(os.environ))
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    (decoder,) = psutil.Process(worker.pid).children()
    worker.kill()
    worker.wait()
    assert psutil.wait_procs([decoder], timeout=patience(10))[1] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_decoder_reads_on_when_the_whole_group_is_told_to_stop(
    pool: DecoderPool, tmp_path: Path, number: int
) -> None:
    path = write(tmp_path / "a.dcm", picture())
    load(pool, path)
    decoder = process(pool)
    decoder.send_signal(number)
    assert np.array_equal(load(pool, path).frame, picture())
    assert process(pool) == decoder


def test_a_decoder_started_while_celery_stops_reads_too(fresh: DecoderPool, tmp_path: Path) -> None:
    socket.setdefaulttimeout(0.01)
    try:
        assert np.array_equal(load(fresh, write(tmp_path / "a.dcm", picture())).frame, picture())
    finally:
        socket.setdefaulttimeout(None)


def test_a_decoder_needs_neither_torch_nor_celery_nor_a_database() -> None:
    names = "[name for name in ('torch', 'celery', 'sqlalchemy') if name in sys.modules]"
    code = f"import sys, worker.imaging.decoder_process; print({names})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def answered(scanner: str = "Acme", laterality: str | None = "left", **region: Any) -> LesionsDecoded:
    said = {"roi": {"x": 0, "y": 0, "width": 20, "height": 20}, "source": "job"} | region
    age = {"years": 47.0, "source": "job"}
    examination = {"laterality": laterality, "study_date": date(2026, 11, 23)}
    image = {"shape": [48, 64], "age": age, "scanner": {"model": scanner}, "examination": examination}
    return TypeAdapter(LesionsDecoded).validate_python(image | {"regions": [said]})


@pytest.mark.parametrize(
    "answer",
    [
        answered(size={"width_mm": -1.0, "height_mm": 2.0}),
        answered(size={"width_mm": 1.0, "height_mm": math.inf}),
        answered(roi={"x": 60, "y": 0, "width": 20, "height": 20}),
        answered(scanner="x" * 1000),
        answered(laterality="x"),
    ],
)
def test_what_a_decoder_says_and_can_not_be_is_not_taken(answer: LesionsDecoded) -> None:
    assert is_sound(answered(size={"width_mm": 1.0, "height_mm": 2.0}), LIMITS)
    assert is_sound(answered(laterality=None), LIMITS)
    assert not is_sound(answer, LIMITS)


def test_two_files_of_one_image_in_two_encodings_are_one_and_a_third_that_differs_is_ambiguous(
    pool: DecoderPool, tmp_path: Path
) -> None:
    frame = picture()
    write(tmp_path / "a.dcm", frame)
    write(tmp_path / "b.dcm", frame, RLELossless)
    write(tmp_path / "c.dcm", np.flipud(frame), RLELossless)
    assert np.array_equal(load_one(pool, tmp_path, ["a.dcm", "b.dcm"]).frame, frame)
    with pytest.raises(LesionRefused, match=Code.SOP_INSTANCE_AMBIGUOUS):
        load_one(pool, tmp_path, ["a.dcm", "c.dcm", "b.dcm"])


def test_what_a_decoder_can_not_read_in_time_is_not_the_same_image(hasty: DecoderPool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    assert not hasty.same_image(path, tmp_path / "missing.dcm")
    assert hasty.same_image(path, path)
    still = process(hasty)
    still.suspend()
    assert not hasty.same_image(path, path)
    assert not still.is_running()
