"""The window of what was seen, against a list that is searched from end to end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.news.seen import SeenStories
from ingest.news.story import Story, normal_link, normal_title
from tickloom.clock import NS_PER_S

WINDOW_S, KEYS_MAX = 10, 5
_KEYS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=2, unique=True)
_STEPS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), _KEYS), max_size=60)


class Naive:
    """The same promise, said plainly: a list of (key, second), the last seen last."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []

    def tidy(self, now_s: int) -> None:
        self.rows = [(key, at) for key, at in self.rows if now_s - at <= WINDOW_S][-KEYS_MAX:]

    def step(self, keys: list[str], now_s: int, only_known: bool) -> bool:
        self.tidy(now_s)
        known = [key for key in keys if key in [row[0] for row in self.rows]]
        for key in known if only_known else keys:
            self.rows = [*(row for row in self.rows if row[0] != key), (key, now_s)]
        self.tidy(now_s)
        return not known


@given(_STEPS)
def test_as_a_plain_list(steps: list[tuple[int, bool, list[str]]]) -> None:
    """New or not, what is remembered and in which order, at every step; never more than it may be."""
    seen, naive, now_s = SeenStories(WINDOW_S, KEYS_MAX), Naive(), 0
    for pause_s, only_known, keys in steps:
        now_s += pause_s
        if only_known:
            seen.keep(keys, now_s * NS_PER_S)
            naive.step(keys, now_s, True)
        else:
            assert seen.is_new(keys, now_s * NS_PER_S) == naive.step(keys, now_s, False)
        assert seen.items() == [(key, at * NS_PER_S) for key, at in naive.rows]
        assert len(seen) <= KEYS_MAX


def test_story_in_a_document_that_does_not_change_stays_known() -> None:
    """A window of 10 s, a document asked for every 6: its story is never new again."""
    seen = SeenStories(WINDOW_S, KEYS_MAX)
    assert seen.is_new(["k"], 0)
    for second in range(6, 60, 6):
        seen.keep(["k"], second * NS_PER_S)
    assert not seen.is_new(["k"], 60 * NS_PER_S)


def test_what_makes_stories_the_same() -> None:
    """The id at one source; title and link, however they are set, at any."""
    one = Story("a", "7", "Alfa cuts guidance", "", "https://www.x.example/n/1/?utm_source=rss#top", 0)
    corrected = Story("a", "7", "Alfa cuts its guidance", "", "https://x.example/n/1b", 0)
    elsewhere = Story("b", "99", "ALFA CUTS  GUIDANCE.", "", "http://x.example/n/1", 0)
    other_id = Story("b", "7", "Something else", "", "http://x.example/n/2", 0)
    assert set(one.keys) & set(corrected.keys)
    assert set(one.keys) & set(elsewhere.keys)
    assert not set(one.keys) & set(other_id.keys)


def test_links_and_titles_in_normal_form() -> None:
    """Parameters that say what is read stay, in one order; those of campaigns go."""
    assert normal_link("HTTPS://WWW.X.example:443/a/?b=2&a=1&utm_medium=x&gclid=1") == "x.example/a?a=1&b=2"
    assert normal_link("http://x.example:8080/") == "x.example:8080"
    assert normal_link("http://[broken") == "http://[broken"
    assert normal_title("  Ｂravo: “Up” 5%! ") == "bravo up 5"


@given(st.text(max_size=60))
def test_normal_forms_take_any_text(text: str) -> None:
    """A link is whatever a source writes there."""
    normal_link(text)
    assert normal_title(normal_title(text)) == normal_title(text)
