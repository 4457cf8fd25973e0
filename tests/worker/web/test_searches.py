import pytest

from worker.web.searches import Searches

KEY = b"k" * 32


def test_a_search_is_found_by_its_word_and_by_no_other() -> None:
    searches = Searches(KEY, 60)
    word = searches.keep("A1")
    assert searches.find(word) == "A1"
    assert searches.keep("A1") != word
    for other in ("A1", "", word[:-1], word[::-1], "ä", "="):
        assert searches.find(other) is None


def test_any_process_of_the_page_finds_it_and_no_other_page_does() -> None:
    word = Searches(KEY, 60).keep("A1")
    assert Searches(KEY, 60).find(word) == "A1"
    assert Searches(b"l" * 32, 60).find(word) is None


def test_it_is_worth_nothing_after_its_time() -> None:
    now = [1000.0]
    searches = Searches(KEY, 60, clock=lambda: now[0])
    word = searches.keep("A1")
    now[0] = 1060.0
    assert searches.find(word) == "A1"
    now[0] = 1061.0
    assert searches.find(word) is None


@pytest.mark.parametrize("text", ["A1", "\uac80" * 64, "1.2.840." + "9" * 56])
def test_a_word_says_nothing_and_fits_an_address(text: str) -> None:
    word = Searches(KEY, 60).keep(text)
    assert text not in word
    assert len(word) <= 512
    assert word.replace("-", "").replace("_", "").isalnum()
