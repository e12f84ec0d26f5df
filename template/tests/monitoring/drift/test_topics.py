"""A text's vector tells what it is about by its words."""

import math

import pytest

from app.monitoring.drift.topics import DIMENSIONS, topic_of


def likeness(one: str, other: str) -> float:
    pairs = zip(topic_of(one), topic_of(other), strict=True)
    return sum(a * b for a, b in pairs)


@pytest.mark.parametrize(
    "text", ["The battery no longer charges.", "电池无法充电", "battery " * 99]
)
def test_a_vector_has_length_one(text: str) -> None:
    vector = topic_of(text)
    assert len(vector) == DIMENSIONS
    assert math.hypot(*vector) == pytest.approx(1)


@pytest.mark.parametrize("text", ["", "is it so?", "?!"])
def test_a_text_without_words_that_count_has_zeros(text: str) -> None:
    assert not any(topic_of(text))


def test_texts_that_share_words_are_near() -> None:
    battery = "How long does it take to charge the battery?"
    assert likeness(battery, "Charging batteries, how?") > likeness(battery, "Where is my parcel?")


def test_neither_case_nor_form_of_letters_counts() -> None:
    assert topic_of("Straße ﬁnden") == topic_of("STRASSE finden")
