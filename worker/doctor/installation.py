"""What is on this host: models, a device, the storage, and the programs that serve beside the workers."""

import os
import socket
import urllib.request
from typing import TYPE_CHECKING

from worker.doctor.component import LOOK_S, Component, Health
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.inference.entry import Entry


def models(settings: Settings) -> Component:
    """Read the cards of the models in service, and hash their weights."""
    from worker.inference.model_card import MODEL_NAMES
    from worker.inference.registry import Registry

    registry = Registry(settings.models_dir)
    entries = [registry.active(name) for name in MODEL_NAMES]
    shares = registry.shares()
    entries += [registry.entry(name, one.version) for name, one in shares.items()]
    versions = ", ".join(map(_named, entries))
    broken = [entry.card.name for entry in entries if not registry.is_sound(entry)]
    if broken:
        return Component("models", Health.DOWN, versions, f"{broken[0]}: the weights are not those of its card")
    said = sorted({entry.card.notice for entry in entries if entry.card.notice})
    said += [warning for entry in entries if (warning := entry.card.decoder_warning) is not None]
    return Component("models", Health.WARNING if said else Health.OK, versions, "; ".join(said) or "active")


def _named(entry: "Entry") -> str:
    from worker.inference.shares import percent

    card = entry.card
    members = f" (an ensemble of {len(card.members)})" if card.members else ""
    share = f" (for {percent(entry.share)} of the studies)" if entry.share else ""
    return f"{card.name} {card.version}{members}{share}"


def device(settings: Settings) -> Component:
    """Find the devices that inference workers here would take."""
    try:
        import torch

        from worker.inference.devices import devices_named
    except ImportError:
        return Component("device", Health.OK, None, "no torch here: this installation is a client")
    return Component("device", Health.OK, f"torch {torch.__version__}", ", ".join(devices_named(settings.device)))


def storage(settings: Settings) -> Component:
    """Look whether the files' folder is there and can be read."""
    root = settings.storage_root
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        return Component("storage", Health.DOWN, None, f"DLR_STORAGE_ROOT {root} is not a readable folder")
    with os.scandir(root) as entries:
        said = str(root) if any(entries) else f"{root} is empty: is its disk mounted?"
    return Component("storage", Health.OK, None, said)


def flower(settings: Settings) -> Component:
    """Ask Flower whether it serves."""
    from worker.services.flower import healthcheck_url

    try:
        with urllib.request.urlopen(healthcheck_url(settings), timeout=LOOK_S):  # noqa: S310  our own http:// address
            return Component("Flower", Health.OK, None, "serves")
    except OSError:
        return Component("Flower", Health.WARNING, None, "does not serve; studies are scored without it")


def page(settings: Settings) -> Component:
    """Look whether somebody listens where the worklist page does."""
    from worker.services.web_process import web_is_installed

    if not web_is_installed() or not settings.web_accounts.exists():
        return Component("worklist page", Health.OK, None, "not used: it has no accounts")
    try:
        with socket.create_connection((settings.web_address, settings.web_port), LOOK_S):
            return Component("worklist page", Health.OK, None, "listens")
    except OSError:
        return Component("worklist page", Health.WARNING, None, "does not listen; `dlr worklist` shows the same")


def performer(settings: Settings) -> Component:
    """Count the work items that are held and that were given up, and look whether a performer is at work."""
    from worker.performing.claims import Claims, State
    from worker.performing.from_settings import manager_of

    if settings.perform_manager is None and settings.perform_dicomweb is None:
        return Component("work items", Health.OK, None, "not used: DLR_PERFORM_MANAGER is not set")
    claims = Claims.of(settings.storage_root, manager_of(settings).where)
    states = [claim.state for claim in claims.all()]
    given_up = states.count(State.GIVEN_UP)
    said = f"{len(states) - given_up} held, {given_up} given up"
    is_at_work = claims.is_at_work(settings.fetch_timeout_s)
    if not is_at_work:
        said += "; nothing was heard of the manager for minutes: is `dlr perform` running?"
    return Component("work items", Health.OK if is_at_work and not given_up else Health.WARNING, None, said)


def receiver(settings: Settings) -> Component:
    """Send a C-ECHO as one of those who may call."""
    from worker.intake.receiver_config import echo, receiver_config_of

    reception = receiver_config_of(settings)
    place = f"{reception.ae_title} at {reception.address}:{reception.port}"
    if echo(reception):
        return Component("receiver", Health.OK, None, f"{place} answers")
    return Component("receiver", Health.DOWN, None, f"{place} does not answer")
