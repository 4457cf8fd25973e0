"""Light or dark: as the browser prefers, or as a reader chose, which her browser remembers."""

import re
from typing import Final

from starlette.requests import Request

from worker.web.languages import gettext_noop

COOKIE: Final = "dlr_scheme"
REMEMBERED_S: Final = 365 * 86400

SCHEMES: Final = {
    "": gettext_noop("As the system"),
    "light": gettext_noop("Light"),
    "dark": gettext_noop("Dark"),
}
"""What can be chosen, in words."""

_OWN_PAGE = re.compile(r"/(?:refused|search/[\w-]+|studies/[0-9a-f-]{36})?(?:\?[\w.=&%+:-]*)?")


def scheme_of(request: Request) -> str:
    """Return what was chosen in a browser; empty: nothing."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in SCHEMES else ""


def own_page(address: str) -> str:
    """Return an address of a page of ours, path and query; of any other, that of the worklist."""
    return address if _OWN_PAGE.fullmatch(address) else "/"


def shown_page(request: Request) -> str:
    """Return the address of the page that a request asks for, to come back to it."""
    query = f"?{request.url.query}" if request.url.query else ""
    return own_page(request.url.path + query) if request.method == "GET" else "/"
