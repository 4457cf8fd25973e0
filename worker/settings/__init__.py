"""Every setting: the one room that reads the environment."""

from worker.settings.described import Described, by_group, described, without_secrets
from worker.settings.environment import PREFIX, SERVICES_FILE, default_home
from worker.settings.loading import get_settings, isolated, use_device
from worker.settings.postgres_hosts import as_host_list
from worker.settings.renamed import RENAMED, OldName, old_names
from worker.settings.sentinels import SentinelAddress, as_written, celery_url, sentinel_address
from worker.settings.settings import GROUPS, Settings

__all__ = [
    "GROUPS",
    "PREFIX",
    "RENAMED",
    "SERVICES_FILE",
    "Described",
    "OldName",
    "SentinelAddress",
    "Settings",
    "as_host_list",
    "as_written",
    "by_group",
    "celery_url",
    "default_home",
    "described",
    "get_settings",
    "isolated",
    "old_names",
    "sentinel_address",
    "use_device",
    "without_secrets",
]
