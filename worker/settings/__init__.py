"""Every setting: the one room that reads the environment."""

from worker.settings.settings import (
    PREFIX,
    SECRETS_DIR,
    SERVICES_FILE,
    Described,
    Settings,
    default_home,
    described,
    get_settings,
    isolated,
    use_device,
)

__all__ = [
    "PREFIX",
    "SECRETS_DIR",
    "SERVICES_FILE",
    "Described",
    "Settings",
    "default_home",
    "described",
    "get_settings",
    "isolated",
    "use_device",
]
