from collections.abc import Callable
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from tests.worker.web.conftest import Kept, client_of
from worker.web.site import Site
from worker.web.viewer import viewer_url

BOTH = "https://pacs/view?study={study_instance_uid}&an={accession_number}"


@pytest.mark.parametrize(
    ("template", "uid", "number", "url"),
    [
        (None, "1.2", "A1", None),
        (BOTH, "1.2", "A1", "https://pacs/view?study=1.2&an=A1"),
        (BOTH, "1.2", None, None),
        (BOTH, None, "A1", None),
        ("https://pacs/{accession_number}", None, "A/1 &?#\u00e9", "https://pacs/A%2F1%20%26%3F%23%C3%A9"),
        ("https://pacs/{study_instance_uid}", "1.2", None, "https://pacs/1.2"),
        ("https://pacs/{accession_number}", "1.2", "{study_instance_uid}", "https://pacs/%7Bstudy_instance_uid%7D"),
    ],
)
def test_a_study_is_filled_in(template: str | None, uid: str | None, number: str | None, url: str | None) -> None:
    assert viewer_url(template, uid, number) == url


def test_a_study_links_to_the_viewer_in_a_window_that_knows_nothing_of_ours(
    site: Site, kept: Kept, sign_in: Callable[..., TestClient]
) -> None:
    linking = client_of(replace(site, viewer_url=BOTH))
    reader = sign_in()
    assert "viewer" not in reader.get(f"/studies/{kept.study_id}").text
    linking.cookies = reader.cookies
    url = f"https://pacs/view?study={kept.header.study_instance_uid}&amp;an=ACC4711"
    link = f'<a class="viewer" href="{url}" target="_blank" rel="noopener noreferrer">'
    assert link in linking.get(f"/studies/{kept.study_id}").text
