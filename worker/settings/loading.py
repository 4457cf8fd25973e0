"""The settings of this process: read once, refused with a sentence where one is wrong or misspelt."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from worker.errors import Code, SetupRefused
from worker.settings.environment import PREFIX, SERVICES_FILE, default_home, names, variable
from worker.settings.renamed import RENAMED, OldName, old_names
from worker.settings.settings import Settings
from worker.validation_errors import Flaw, flaws_of

logger = logging.getLogger(__name__)

ALIKE: Final = 0.8
"""From which likeness on (`difflib`'s ratio) a name that is no setting's is taken for a slip of the pen."""


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings once for this process.

    Raises:
        SetupRefused: ``setting_invalid``, naming each wrong variable and never its value.
    """
    old = {name.renamed: name for name in old_names()}
    misspelt = [f"{name} is not a setting: did you mean {meant}?" for name, meant in _no_settings() if meant]
    if misspelt:
        raise SetupRefused(Code.SETTING_INVALID, "; ".join(misspelt))
    try:
        return Settings()
    except ValidationError as invalid:
        reason = "; ".join(_sentence(flaw, old) for flaw in flaws_of(invalid))
    except SettingsError:
        reason = "DLR_DICOMWEB_SERVERS: is not JSON"
    except (json.JSONDecodeError, UnicodeDecodeError):
        reason = f"{default_home() / SERVICES_FILE} is not JSON: `dlr up` rewrites it"
    raise SetupRefused(Code.SETTING_INVALID, reason)


@contextmanager
def isolated() -> Iterator[None]:
    """Forget every DLR_ variable while it lasts: what runs inside touches no server that the environment names."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    for name in kept:
        del os.environ[name]
    get_settings.cache_clear()
    try:
        yield
    finally:
        os.environ.update(kept)
        get_settings.cache_clear()


def use_device(device: str) -> None:
    """Let this process have another ``DLR_DEVICE`` than it was given."""
    os.environ["DLR_DEVICE"] = device
    get_settings.cache_clear()


def _no_settings() -> Iterator[tuple[str, str | None]]:
    """Find variables and secrets that have a setting's prefix and are none, each with the setting that it resembles.

    What resembles none is told in the log and left alone: it may be the site's own, or of another version.
    """
    known = {*Settings.model_fields, *RENAMED}
    for name in sorted(names()):
        prefix, word = name[: len(PREFIX)].lower(), name[len(PREFIX) :].lower()
        if prefix == PREFIX.lower() and word not in known:
            meant = get_close_matches(word, known, n=1, cutoff=ALIKE)
            if not meant:
                logger.warning("%s is not a setting and has no effect: `dlr settings` lists all settings", name)
            yield name, variable(RENAMED.get(meant[0], meant[0])) if meant else None


def _sentence(flaw: Flaw, old: Mapping[str, OldName]) -> str:
    """Name the variable, and the place in its JSON. What contradicts itself names the variables already."""
    if not flaw.place:
        return flaw.sentence
    field, *within = map(str, flaw.place)
    name = f"{variable(field)} (set as {old[field].variable})" if field in old else variable(field)
    return ": ".join([name, *within, flaw.sentence])
