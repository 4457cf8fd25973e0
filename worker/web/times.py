"""Times as the page shows them: in the site's time zone and the reader's language."""

from dataclasses import dataclass
from datetime import datetime

from babel.dates import format_date, format_time, get_datetime_format

from worker.web.languages import Language


@dataclass(frozen=True, slots=True)
class Clock:
    """Says times in one language and in this machine's time zone."""

    language: Language

    @property
    def zone(self) -> str:
        """The name of the time zone."""
        return datetime.now().astimezone().strftime("%Z")

    def moment(self, at: datetime | None) -> str:
        """Say a time to the minute."""
        return "" if at is None else self._said(at, "short")

    def second(self, at: datetime) -> str:
        """Say a time to the second."""
        return self._said(at, "medium")

    def _said(self, at: datetime, precision: str) -> str:
        here, locale = at.astimezone(), self.language.locale
        date, time = format_date(here, "medium", locale), format_time(here, precision, locale=locale)
        return str(get_datetime_format("medium", locale)).format(time, date)
