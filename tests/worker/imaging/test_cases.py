"""The failing images of others, where their folder is there: each is decoded rightly, or refused for its own reason."""

from pathlib import Path

import numpy as np
import pytest

from tests.worker.imaging.decoding import decoded, refusal
from worker.errors import Code

CASES = Path(__file__).parents[4] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the folder shared/cases is not there")


@pytest.mark.parametrize(
    ("path", "levels"),
    [
        ("00-reference/rgb.dcm", (87.4, 87.1, 85.9)),
        ("00-reference/jpeg.dcm", (87.3, 87.1, 85.9)),
        ("00-reference/grey.dcm", (87.4,)),
        ("03-j2k-mct-says-ybr-full/mct-says-ybr_full.dcm", (87.4, 87.1, 85.9)),
        ("04-high-bit-left-justified/hb15.dcm", (86.7,)),
        ("16-window-width-0/c0w0.dcm", (87.4,)),
        ("07-offset-table-one-too-many/bot-n-plus-1.dcm", (87.3, 87.1, 85.9)),
    ],
)
def test_an_image_has_its_own_grey_and_colours(path: str, levels: tuple[float, ...]) -> None:
    frame = decoded(CASES / path)
    np.testing.assert_allclose(frame.reshape(-1, len(levels)).mean(axis=0), levels, atol=0.1)


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("02-number-of-frames-missing/jpeg-empty-bot.dcm", Code.PIXELS_UNDECODABLE, "number of frames"),
        (
            "05-wrong-transfer-syntax-in-meta/encapsulated-says-explicit.dcm",
            Code.TRANSFER_SYNTAX_MISMATCH,
            "says Explicit VR Little Endian, and Pixel Data is compressed",
        ),
    ],
)
def test_an_image_that_nobody_can_be_sure_of_is_refused(path: str, code: Code, reason: str) -> None:
    refused = refusal(CASES / path)
    assert (refused.code, reason in refused.reason) == (code, True)
