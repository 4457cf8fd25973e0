from worker.web import searches
from worker.web.searches import Searches


def test_a_search_is_found_by_its_word_and_by_no_other() -> None:
    kept = Searches(kept_s=60)
    word = kept.keep("A1")
    assert kept.find(word) == "A1"
    assert kept.find("A1") is None
    assert kept.keep("A1") != word


def test_it_is_forgotten_after_its_time() -> None:
    now = [0.0]
    kept = Searches(kept_s=60, clock=lambda: now[0])
    word = kept.keep("A1")
    now[0] = 59.9
    assert kept.find(word) == "A1"
    now[0] = 60.0
    assert kept.find(word) is None


def test_only_so_many_are_kept_the_latest() -> None:
    kept = Searches(kept_s=60)
    words = [kept.keep(str(number)) for number in range(searches.MOST_KEPT + 2)]
    assert [kept.find(word) for word in words[:3]] == [None, None, "2"]
    assert kept.find(words[-1]) is not None
