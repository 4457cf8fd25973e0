"""One model's training, from lesions to weights and a card: the order of the steps.

Why there is one trainer, and what it keeps: docs/decisions/0029-one-trainer.md.
"""

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from worker import __version__
from worker.errors import Code, SetupRefused
from worker.inference.card_parts import VERSION_PATTERN, InitialWeights
from worker.inference.devices import choose_device
from worker.inference.model_card import ModelCard, ModelName, load_card
from worker.inference.network import DlrNetwork
from worker.training.age_stage import fit_age
from worker.training.ages import learns_on, require_telling_ages
from worker.training.artefacts import write_outcome
from worker.training.checkpoint import Checkpoints
from worker.training.cohort import Cohort, Lesions, labelled
from worker.training.config import Log, TrainingConfig
from worker.training.fit import Fitting, fit, reproducible
from worker.training.folder import TrainingFolder
from worker.training.held_out import Judged, judge
from worker.training.labels import LabelRule, rule_of
from worker.training.log import require, writer
from worker.training.processes import Team, leads, processes, team
from worker.training.start import init_digest, new_network, require_fitting
from worker.training.start_card import initial_weights, require_as_on_card

OnShare = Callable[[float], None]
_FITTING_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Running:
    """What changes how a training runs, and not what comes of it.

    Attributes:
        device: as `worker.inference.devices.choose_device` takes it. Its kind alone changes what comes of it: a folder
            is gone on with on the same kind.
        log: where epochs are logged to.
        version: the card's; one is made where there is none.
        loaders: processes that prepare images.
        on_share: told the share that is done.
    """

    device: str = "cpu"
    log: Log = Log.CSV
    version: str | None = None
    loaders: int = 0
    on_share: OnShare = lambda _share: None


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training.

    Attributes:
        card: as it was written.
        judged: what held-out lesions say; ``None`` where it was finished before.
    """

    card: ModelCard
    judged: Judged | None


def train(
    model: ModelName, cohort: Cohort, config: TrainingConfig, output: Path, running: Running = Running()
) -> Trained | None:
    """Train one model. The same arguments again go on where it stopped, and do nothing where it is finished.

    Args:
        model: which.
        cohort: lesions of the splits ``train``, ``validation`` and ``test`` or ``external``.
        config: how.
        output: a folder: new, empty, or this training's.
        running: how it runs.

    Returns:
        The model; ``None`` in a process that only helped.

    Raises:
        SetupRefused: ``training_differs``, ``already_running``, ``lesions_too_few``, ``dataset_invalid``,
            ``age_uninformative``, ``config_invalid``, ``training_diverged``, ``weights_unavailable``,
            ``setting_invalid``.
    """
    require_startable(model, config, running)
    rule = rule_of(model, config)
    lesions = labelled(cohort, rule)
    if config.needs_ages:
        require_telling_ages(lesions.rows, rule, learns_on(config))
    folder = TrainingFolder(output)
    checkpoints = Checkpoints(folder.checkpoints_path)
    with folder.claimed(identity_of(model, cohort, config, running.device)) if leads() else nullcontext():
        if folder.is_finished:
            checkpoints.remove()
            return Trained(load_card(folder.card_path), None) if leads() else None
        started = initial_weights(config)
        with team(running.device, config.batch) as members:
            network = _fitted(lesions, config, members, checkpoints, folder, running)
        if not members.leads:
            return None
        return _finished(network, lesions, rule, config, Team(0, 1, members.device), folder, running, started)


def require_startable(model: ModelName, config: TrainingConfig, running: Running) -> None:
    """Make sure of all that can be told before lesions are read, which may take long.

    Raises:
        SetupRefused: ``config_invalid``: another label rule than the model has, no version, or another input than the
            card of the weights to start from says; ``setting_invalid``: no such device or log;
            ``weights_unavailable``: no such file to start from, or it does not fit.
    """
    require(running.log)
    rule_of(model, config)
    require_as_on_card(config)
    require_fitting(config)
    choose_device(running.device)
    if running.version is not None and not re.fullmatch(VERSION_PATTERN, running.version):
        reason = "--version: letters, digits, '.', '_' and '-', 64 at most, and a letter or a digit first"
        raise SetupRefused(Code.CONFIG_INVALID, reason)


def identity_of(model: ModelName, cohort: Cohort, config: TrainingConfig, device: str) -> dict[str, object]:
    """Return what the weights depend on, by name; a folder is of one of it.

    Raises:
        SetupRefused: ``setting_invalid``: no such device; ``weights_unavailable``: no such file to start from.
    """
    return {
        "format": 1,
        "model": model,
        "data": cohort.digest,
        "init": init_digest(config),
        "code": __version__,
        "torch": torch.__version__,
        "processes": processes(),
        "device": choose_device(device).type,
        **{name: value for name, value in config.identity().items() if name != "init"},
    }


def _fitted(
    lesions: Lesions, config: TrainingConfig, members: Team, checkpoints: Checkpoints, folder: TrainingFolder,
    running: Running,
) -> DlrNetwork:  # fmt: skip
    network = new_network(config)
    if config.stages == "age":
        return network.to(members.device).eval()
    fitting = Fitting(
        lesions,
        config,
        members,
        checkpoints,
        on_epoch=writer(running.log, folder) if members.leads else lambda _progress: None,
        on_share=lambda share: running.on_share(share * _FITTING_SHARE),
        loaders=running.loaders,
    )
    with reproducible(members.device):
        fit(network, fitting)
    return network


def _finished(
    network: DlrNetwork, lesions: Lesions, rule: LabelRule, config: TrainingConfig, alone: Team,
    folder: TrainingFolder, running: Running, started: tuple[InitialWeights, ...],
) -> Trained:  # fmt: skip
    """The second stage, and what comes of both.

    No temperature is fitted here: it needs lesions that nothing of the model learned from, and the classifier with age
    may have learned from ``judged.validation`` (``age.learns_on``). `dlr models calibrate` fits one, on other lesions.
    """
    with reproducible(alone.device):
        if config.stages in ("two", "age"):
            fit_age(network, lesions, config, alone)
        judged = judge(network, lesions, config, alone)
    card = write_outcome(folder, network, judged, lesions, rule, config, running.version, started)
    Checkpoints(folder.checkpoints_path).remove()
    running.on_share(1.0)
    return Trained(card, judged)
