"""What a finding in a lesion's region does."""

import pytest

from db.schema.vocabulary import QualityFinding
from worker.image_access import QualityPolicy
from worker.settings import Settings


def test_each_check_of_the_gate_warns_unless_its_setting_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_QUALITY_OVERLAY_IN_ROI", "refuse")
    monkeypatch.setenv("DLR_QUALITY_ROI_BLANK", "off")
    said = {QualityFinding.OVERLAY_IN_ROI: QualityPolicy.REFUSE, QualityFinding.ROI_BLANK: QualityPolicy.OFF}
    assert Settings().policies == {finding: said.get(finding, QualityPolicy.WARN) for finding in QualityFinding}
