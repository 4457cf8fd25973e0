"""Times as the page shows them: in the site's time zone and the reader's language."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time, get_datetime_format

from worker.web.languages import Language


@dataclass(frozen=True, slots=True)
class Clock:
    """Says times in one language.

    Attributes:
        site: the time zone; ``None``: this machine's.
    """

    language: Language
    site: ZoneInfo | None = None

    @property
    def zone(self) -> str:
        """The name of the time zone."""
        return self.site.key if self.site is not None else datetime.now().astimezone().strftime("%Z")

    def moment(self, at: datetime | None) -> str:
        """Say a time to the minute."""
        return "" if at is None else self._said(at, "short")

    def second(self, at: datetime) -> str:
        """Say a time to the second."""
        return self._said(at, "medium")

    def utc(self, at: datetime) -> str:
        """Say a time to the second, in UTC and in every language alike."""
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

    def _said(self, at: datetime, precision: str) -> str:
        here, locale = at.astimezone(self.site), self.language.locale
        date, time = format_date(here, "medium", locale), format_time(here, precision, locale=locale)
        return str(get_datetime_format("medium", locale)).format(time, date)
