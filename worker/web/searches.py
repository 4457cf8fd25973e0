"""What is looked for, sealed into a word that an address has in its stead.

So the browser's back button works, and neither its history, a log nor a ``Referer`` holds an identifier. Nothing is
kept here: any process of the page opens what another one sealed. See docs/decisions/0045-what-the-page-keeps.md.
"""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken


@dataclass(frozen=True, slots=True)
class Searches:
    """Seals what is looked for, and opens it again.

    Attributes:
        key: 32 bytes; what another key sealed is not opened.
        kept_s: seconds after which a word is worth nothing.
        clock: the time, in seconds.
    """

    key: bytes = field(repr=False)
    kept_s: int
    clock: Callable[[], float] = time.time

    def keep(self, text: str) -> str:
        """Return a word for a search; another one each time."""
        return self._fernet.encrypt_at_time(text.encode(), int(self.clock())).decode().rstrip("=")

    def find(self, word: str) -> str | None:
        """Return what a word stands for; ``None`` if its time is over, or it was never given."""
        padded = word + "=" * (-len(word) % 4)
        try:
            return self._fernet.decrypt_at_time(padded.encode(), self.kept_s, int(self.clock())).decode()
        except InvalidToken:
            return None

    @property
    def _fernet(self) -> Fernet:
        return Fernet(urlsafe_b64encode(self.key))
