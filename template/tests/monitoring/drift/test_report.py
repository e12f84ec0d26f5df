"""The report says in words what changed, and what could have been seen."""

from datetime import UTC, datetime

from app.monitoring.drift.report import Comparison, Report

OCTOBER, FIRST, EIGHTH = (datetime(2026, *day, tzinfo=UTC) for day in ((10, 4), (11, 1), (11, 8)))


def words(*comparisons: Comparison) -> str:
    return Report((OCTOBER, FIRST), (FIRST, EIGHTH), comparisons).in_words()


def test_it_names_what_has_changed_and_what_has_not() -> None:
    told = words(
        Comparison("chat", "topics", 400, 200, None, None, 0.11, 0.005, 0.22),
        Comparison("chat", "refusals", 400, 200, 0.051, 0.049, 0.0, 1.0, 0.132),
        Comparison("classify", "output_length", 400, 200, 60, 62, 0.01, 0.7, 0.2),
    )
    assert told.splitlines() == [
        "2026-11-01 00:00 to 2026-11-08 00:00 against 2026-10-04 00:00 to 2026-11-01 00:00."
        " Changed: topics of chat.",
        "",
        "chat",
        "  topics: CHANGED (score 0.110, p 0.005, 200 against 400)."
        " It would show 22 % of the inputs about one other thing, 80 % of the time.",
        "  refusals: no change found, 5.1 % before and 4.9 % now"
        " (score 0.000, p 1, 200 against 400). It would show a rise to 13.2 %, 80 % of the time.",
        "",
        "classify",
        "  output_length: no change found, 60 before and 62 now"
        " (score 0.010, p 0.7, 200 against 400)."
        " It would show 20 % more of them longer, or shorter, than some length, 80 % of the time.",
    ]


def test_it_says_what_could_not_be_compared() -> None:
    told = words(Comparison("chat", "feedback", 40, 7))
    assert "Nothing could be compared: each side needs 30 responses." in told
    assert "feedback: not compared, 7 against 40 are too few." in told


def test_it_says_where_nothing_changed_and_where_nothing_could_show() -> None:
    told = words(Comparison("chat", "feedback", 40, 30, 0.5, 0.5, 0.0, 1.0))
    assert "Nothing is known to have changed." in told
    assert "So few can show no shift, however large." in told
