"""Every setting: the one room that reads the environment."""

from worker.settings.described import Described, by_group, described
from worker.settings.environment import PREFIX, SERVICES_FILE, default_home
from worker.settings.loading import get_settings, isolated, use_device
from worker.settings.renamed import RENAMED, OldName, old_names
from worker.settings.settings import GROUPS, Settings

__all__ = [
    "GROUPS",
    "PREFIX",
    "RENAMED",
    "SERVICES_FILE",
    "Described",
    "OldName",
    "Settings",
    "by_group",
    "default_home",
    "described",
    "get_settings",
    "isolated",
    "old_names",
    "use_device",
]
