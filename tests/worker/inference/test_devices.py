"""A device is the one that was named, or the setting is refused."""

import pytest
import torch

from worker.errors import SetupRefused
from worker.inference.devices import choose_device, devices_named


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "mps", "", "cpu:1x"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        choose_device(device)
    assert "DLR_DEVICE" in refused.value.reason


def test_auto_is_cuda_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


def test_all_is_each_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices_named("all") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices_named("cuda:2, cuda:0") == ["cuda:2", "cuda:0"]


def test_all_of_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SetupRefused) as refused:
        devices_named("all")
    assert "no CUDA device" in refused.value.reason


def test_one_that_is_not_there_among_several_is_refused() -> None:
    with pytest.raises(SetupRefused):
        devices_named("cpu,cuda:99")
