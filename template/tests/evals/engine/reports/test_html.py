import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from evals.engine.reports import Header, Reported, html
from tests.evals.engine.reports import (
    FAILED,
    HEADER,
    HOSTILE,
    INCONCLUSIVE,
    PASSED,
    module,
    outcome,
    run,
)

VOID = {"meta"}


class Page(HTMLParser):
    """A page's elements in order: tag, attributes and all text within. Refuses loose ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {name: value or "" for name, value in attrs}, list[str]())
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text.append(data)

    def texts(self, *tags: str, **wanted: str) -> list[str]:
        """Return the texts of the elements with such a tag and such attributes."""
        return [
            " ".join("".join(text).split())
            for tag, attributes, text in self.elements
            if (tag in tags or not tags)
            and all(attributes.get(name.rstrip("_")) == value for name, value in wanted.items())
        ]

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]


def page(*reports: Reported, **more: Any) -> Page:
    return Page(html.render(reports, replace(HEADER, **more)))


@pytest.mark.parametrize(
    ("reports", "headline", "modules"),
    [
        ([PASSED], "Evals passed", "Passed: chat."),
        ([PASSED, INCONCLUSIVE], "Evals are inconclusive", "Inconclusive: classify. Passed: chat."),
        ([PASSED, FAILED], "Evals failed", "Failed: extract. Passed: chat."),
    ],
)
def test_it_begins_with_the_verdict(reports: list[Reported], headline: str, modules: str) -> None:
    read = page(*reports)
    assert read.texts("h1") == [headline]
    assert read.texts("p")[0] == modules
    assert read.texts("title") == [f"{headline} · openai:small · 2026-11-25 21:40 UTC"]


def test_a_verdict_is_a_word_beside_its_colour() -> None:
    badges = page(FAILED, INCONCLUSIVE, PASSED).texts("strong")
    assert badges[:3] == ["✗ failed", "? inconclusive", "✓ passed"]


def test_a_rate_is_drawn_with_its_interval_and_its_floor() -> None:
    read = page(FAILED)
    drawn = "50 %, interval 15 to 85 %, floor 75 %"
    assert [each["aria-label"] for each in read.attributes("svg")] == [drawn] * 2
    assert [each["width"] for each in read.attributes("rect")][:2] == ["100%", "50.0%"]
    ends = [(each["x1"], each["x2"]) for each in read.attributes("line")][:4]
    assert ends == [
        ("15.0%", "85.0%"),
        ("15.0%", "15.0%"),
        ("85.0%", "85.0%"),
        ("75.0%", "75.0%"),
    ]


def test_without_a_floor_none_is_drawn() -> None:
    read = page(PASSED)
    assert {each["aria-label"] for each in read.attributes("svg")} == {
        "100 %, interval 34.2 to 100 %"
    }
    assert "floor" not in {each.get("class") for each in read.attributes("line")}


def test_each_slice_is_a_row_with_a_verdict_where_it_has_a_floor() -> None:
    cases = [outcome("a", True, slice="short"), outcome("b", False, slice="long")]
    read = page(module(*cases, floors={"long": 0.5}))
    assert read.texts("th", scope="row") == ["all", "short", "long"]
    assert read.texts("tr")[1:] == [
        "all 50 % 9.45 to 90.5 % 1/2 none",
        "short 100 % 20.7 to 100 % 1/1 none",
        "long ? inconclusive 0 % 0 to 79.3 % 0/1 50 %",
    ]


def test_what_changed_comes_first_and_then_the_worst() -> None:
    cases = [
        outcome("passing", True),
        outcome("half", True, False),
        outcome("none", False, False),
        outcome("must", True, False, must_pass=True),
        outcome("mended", True),
        outcome("broken", False),
    ]
    read = page(module(*cases, before=["passing", "broken"]))
    assert read.texts("h3")[1:-1] == [
        "Newly failing (1)",
        "Newly passing (1)",
        "Failing (3)",
        "Passing (1)",
    ]
    assert read.texts("h4") == ["broken", "mended", "must", "none", "half", "passing"]


def test_without_a_baseline_nothing_is_new() -> None:
    read = page(module(outcome("right", True), outcome("wrong", False)))
    assert read.texts("h3")[1:-1] == ["Failing (1)", "Passing (1)"]
    assert read.texts("li", class_="muted")[0].startswith("There is no baseline")


def test_a_failing_case_shows_what_was_asked_and_said_and_why_it_failed() -> None:
    wrong = run(passes=False, reason="It is 7.", output="It is 8.")
    read = page(module(outcome("sum", runs=(wrong,), question="3 + 4?", expected="7")))
    assert read.texts("details", class_="case") == [
        "✗ sum equalsIt is 7. Question 3 + 4? Expected 7 Output It is 8."
    ]
    assert ["open" in each for each in read.attributes("details")] == [True, False]


@pytest.mark.parametrize("reason", [None, ""])
def test_a_check_without_a_reason_is_named(reason: str | None) -> None:
    read = page(module(outcome("c", runs=(run(passes=False, reason=reason),))))
    assert read.texts("ul", class_="complaints") == ["equalsNo reason is given."]


def test_an_answer_of_no_words_is_told_and_an_expectation_of_none_is_not() -> None:
    read = page(module(outcome("c", runs=(run(output=""),), expected="")))
    assert read.texts("dl", class_="texts") == ["Question ask Output (nothing)"]


def test_an_advisory_check_is_called_so() -> None:
    check = {"name": "judge", "holds": False, "reason": "Rude.", "advisory": True}
    read = page(module(outcome("c", runs=(run(checks=(check,)),))))
    assert read.texts("ul", class_="complaints") == ["judge advisoryRude."]
    assert read.texts("h3")[1] == "Passing (1)"


def test_of_repeats_each_is_a_dot_and_equal_reasons_are_said_once() -> None:
    runs = (
        run(output="first"),
        run(passes=False, reason="too long", output="second"),
        run(passes=False, reason="too long"),
        run(passes=False, reason="too short"),
    )
    read = page(module(outcome("c", runs=runs)))
    assert read.texts("summary")[0] == "✗ c ✓✗✗✗ 1 of 4 runs passed"
    complaint = "equals (3 of 4 runs)too longtoo short"
    assert read.texts("ul", class_="complaints") == [complaint]
    assert read.texts("dd")[-4] == "second"


def test_a_long_output_is_folded_and_a_very_long_one_cut() -> None:
    long, longer = run(output="o" * 500), run(output="o" * 12_000)
    read = page(module(outcome("a", runs=(long,)), outcome("b", runs=(longer,))))
    assert [each for each in read.texts("summary") if "characters" in each] == [
        "500 characters",
        "12,000 characters",
    ]
    assert "o" * 500 in read.texts("div", class_="text")
    assert "o" * 2_000 + " … (10,000 more characters)" in read.texts("div", class_="text")


def test_scores_latency_tokens_and_cost_are_told() -> None:
    runs = [
        run(seconds=number / 10, input_tokens=100, output_tokens=10, scores={"recall@5": 0.5})
        for number in range(1, 21)
    ]
    cases = [outcome(f"c{place}", runs=(each,)) for place, each in enumerate(runs)]
    judged = module(*cases)
    ruling = judged.ruling.model_copy(update={"detectable_drop": 0.2587})
    read = page(Reported(judged.result, ruling))
    facts = dict(zip(read.texts("dt"), read.texts("dd"), strict=True))
    assert facts["recall@5"] == "0.500"
    assert (facts["Latency p50"], facts["Latency p95"]) == ("1,000 ms", "1,900 ms")
    assert (facts["Input tokens"], facts["Output tokens"]) == ("2,000", "200")
    assert facts["Cost"] == "0.0000 USD"
    assert facts["Detectable drop"] == "25.9 points"


def test_answers_that_were_kept_are_left_out_of_the_latency() -> None:
    kept, asked = run(seconds=0.001, cached=True), run(seconds=2)
    for runs, said in (
        ([kept, kept, asked], "2,000 ms"),
        ([kept], "not measured: the answers are kept ones"),
    ):
        read = page(module(*(outcome(f"c{n}", runs=(each,)) for n, each in enumerate(runs))))
        facts = dict(zip(read.texts("dt"), read.texts("dd"), strict=True))
        assert (facts["Latency p50"], facts["Latency p95"]) == (said, said)


def test_an_interval_that_ends_at_0_says_0() -> None:
    read = page(module(*(outcome(f"c{number}", False) for number in range(3))))
    assert "0 to 56.1 %" in read.texts("td")


def test_a_price_that_is_not_known_is_no_zero() -> None:
    read = page(module(outcome("c", runs=(run(cost_usd=None), run(cost_usd=1)))))
    assert read.texts("dd")[5] == "not known"


def test_it_tells_what_was_spent_and_what_the_baseline_cost() -> None:
    about = "openai:small · 2026-11-25 21:40 UTC"
    costs = page(PASSED, spent_usd=0.5, baseline_cost_usd=0.25).texts("p")[1]
    assert costs == f"{about} · spent 0.5000 USD · the baseline cost 0.2500 USD"
    assert page(PASSED).texts("p")[1] == about


def test_a_table_has_headers_for_columns_and_rows() -> None:
    rows = [["k", "words", "meaning"], [5, 0.51234, None], [10, "<b>", 7]]
    read = page(module(outcome("c", True), tables={"Recall by k": rows, "Empty": []}))
    assert "Recall by k" in read.texts("h3")
    assert "Empty" not in read.texts("h3")
    assert read.texts("th", scope="col")[-3:] == ["k", "words", "meaning"]
    assert read.texts("th", scope="row") == ["all", "5", "10"]
    assert read.texts("td")[-4:] == ["0.512", "", "<b>", "7"]


def test_it_tells_the_model_the_prompts_and_the_dataset() -> None:
    read = page(PASSED)
    asked = zip(read.texts("dt"), read.texts("dd"), strict=True)
    assert list(asked)[-3:] == [
        ("Model", "openai:small"),
        ("Prompt chat/1", "0a1b2c"),
        ("Dataset", "3d4e5f"),
    ]
    judged = {"model": "m", "dataset": "d", "judge": "openai:big 0a1b", "search": "offline:words"}
    read = page(module(outcome("c", True), asked=judged))
    asked = zip(read.texts("dt"), read.texts("dd"), strict=True)
    assert {("Judge", "openai:big 0a1b"), ("Searched with", "offline:words")} < set(asked)


def test_hostile_text_is_shown_and_never_obeyed() -> None:
    check = {"name": HOSTILE, "holds": False, "reason": HOSTILE}
    wrong = run(checks=(check,), output=HOSTILE, scores={HOSTILE: 1})
    asked = {"model": HOSTILE, "prompts": {HOSTILE: HOSTILE}, "dataset": HOSTILE}
    case = outcome(HOSTILE, runs=(wrong,), question=HOSTILE, expected=HOSTILE, slice=HOSTILE)
    tables = {HOSTILE: [[HOSTILE], [HOSTILE]]}
    hostile = module(case, name=HOSTILE, before=[HOSTILE], tables=tables, asked=asked)
    read = Page(html.render([hostile], Header(HOSTILE, HOSTILE)))
    plain = " ".join(HOSTILE.split())
    tags = {tag for tag, _, _ in page(FAILED).elements}
    assert {tag for tag, _, _ in read.elements} == tags
    assert read.texts("h4") == [plain]
    assert read.texts("dd")[-6:] == [plain] * 6
    assert plain in read.texts("h2")
    assert not [name for _, named, _ in read.elements for name in named if name.startswith("on")]


def test_it_loads_nothing_and_forbids_scripts() -> None:
    text = html.render([FAILED, PASSED], HEADER)
    read = Page(text)
    policy = next(each["content"] for each in read.attributes("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert not re.search(r"url\(|@import|src=|<script|<link", text)
    assert [each["href"] for each in read.attributes("a")] == ["#module-1", "#module-2"]
    assert {"module-1", "module-2"} <= {each.get("id") for each in read.attributes("section")}


def test_no_heading_is_left_out() -> None:
    read = page(FAILED, PASSED)
    levels = [int(tag[1]) for tag, _, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_three_hundred_cases_are_less_than_a_megabyte() -> None:
    runs = (run(passes=False, output="word " * 200), run(output="word " * 200))
    cases = [outcome(f"c{number}", runs=runs, question="why? " * 40) for number in range(300)]
    assert len(html.render([module(*cases)], HEADER).encode()) < 1_000_000
