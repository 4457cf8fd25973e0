"""How the epochs are trained: what is quicker changes nothing, or is asked for."""

import pytest
import torch
from torch.utils import deterministic

from tests.worker.training.small import config, phantoms
from worker.inference.network import DlrNetwork
from worker.training.checkpoint import Checkpoints, Progress
from worker.training.cohort import labelled
from worker.training.config import TrainingConfig
from worker.training.fit import Fitting, fit, reproducible
from worker.training.labels import rule_of
from worker.training.processes import Team
from worker.training.start import new_network

CPU = torch.device("cpu")


class _Nowhere(Checkpoints):
    """Keeps the best epoch's weights in memory."""

    def __init__(self) -> None:
        self._weights: dict[str, torch.Tensor] = {}

    def save(self, progress: Progress, network: torch.nn.Module, _optimizer: object) -> None:
        if progress.best_epoch == progress.epochs:
            self._weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def restore(self, _network: torch.nn.Module, _optimizer: object) -> Progress:
        return Progress()

    def take_best(self, _progress: Progress, network: torch.nn.Module) -> None:
        network.load_state_dict(self._weights)


def fitted(made: TrainingConfig, *, filled: bool = False) -> tuple[DlrNetwork, Progress]:
    lesions = labelled(phantoms(made), rule_of("DLR_BM", made))
    network = new_network(made)
    fitting = Fitting(lesions, made, Team(0, 1, CPU), _Nowhere(), lambda _progress: None, lambda _share: None)
    with reproducible(CPU):
        deterministic.fill_uninitialized_memory = filled
        return network, fit(network, fitting)


@pytest.mark.slow
def test_no_result_depends_on_memory_that_was_not_written() -> None:
    """With ``filled`` torch puts NaN into all memory first, so that any read of it would show."""
    of = config(epochs=1, stages="joint")
    (plain, plainly), (other, otherwise) = fitted(of), fitted(of, filled=True)
    assert plainly.history[0]["loss"] == otherwise.history[0]["loss"]
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_torch_is_left_as_it_was() -> None:
    before = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    with reproducible(CPU):
        assert torch.are_deterministic_algorithms_enabled()
        assert not deterministic.fill_uninitialized_memory
    assert (torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory) == before


@pytest.mark.slow
def test_bfloat16_is_taken_on_a_processor_where_it_is_asked_for_and_leaves_weights_in_full() -> None:
    losses = {}
    for amp in ("none", "auto", "bfloat16"):
        network, progress = fitted(config(epochs=1, stages="image", amp=amp))
        losses[amp] = progress.history[0]["loss"]
        assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    assert losses["none"] == losses["auto"]
    assert losses["bfloat16"] != losses["none"]
    assert losses["bfloat16"] == pytest.approx(losses["none"], abs=0.05)
