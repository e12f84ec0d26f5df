"""Answers that are kept and found again, and what asking for new ones costs."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic_ai import ModelRequest, ModelResponse, TextPart, direct
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from evals.engine.recorder import Answers, Mode, digest_of
from evals.engine.running import Unanswered

MODEL = "openai:gpt-5-mini"


class Asked(list[str]):
    """A model that numbers its answers and notes what it was asked."""

    # Whether its answers say why they ended.
    whole = True

    def model(self, name: str = "gpt-5-mini") -> Model:
        def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            self.append(_said(messages))
            usage = RequestUsage(input_tokens=1_000_000, output_tokens=0)
            return ModelResponse(
                [TextPart(f"answer {len(self)}")],
                usage=usage,
                model_name=name,
                provider_name="openai",
                provider_details={"finish_reason": "stop"} if self.whole else {},
            )

        return FunctionModel(answer, model_name=name)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def answers(tmp_path: Path) -> Callable[[Mode], Answers]:
    return lambda mode: Answers(tmp_path / "answers", mode)


def _said(messages: list[ModelMessage]) -> str:
    return "".join(str(part.content) for part in messages[-1].parts if hasattr(part, "content"))


async def ask(model: Model, text: str, **settings: float) -> str:
    request = ModelRequest.user_text_prompt(text)
    chosen = ModelSettings(**settings)  # type: ignore[typeddict-item]
    return (await direct.model_request(model, [request], model_settings=chosen)).text or ""


async def test_what_is_in_the_cache_is_not_asked_again(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    first = answers("cache").around(MODEL, asked.model())
    assert await ask(first, "a") == "answer 1"
    again = answers("cache").around(MODEL, asked.model())
    assert await ask(again, "a") == "answer 1"
    assert asked == ["a"]


@pytest.mark.parametrize(
    ("model_id", "text", "settings"),
    [(MODEL, "b", {}), ("openai:gpt-5", "a", {}), (MODEL, "a", {"temperature": 1.0})],
)
async def test_another_text_model_or_setting_is_another_question(
    answers: Callable[[Mode], Answers],
    asked: Asked,
    model_id: str,
    text: str,
    settings: dict[str, float],
) -> None:
    await ask(answers("cache").around(MODEL, asked.model()), "a")
    await ask(answers("cache").around(model_id, asked.model()), text, **settings)
    assert len(asked) == 2


async def test_what_is_asked_twice_in_a_run_is_two_answers_that_are_both_kept(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    for _ in range(2):
        model = answers("cache").around(MODEL, asked.model())
        assert [await ask(model, "a"), await ask(model, "a")] == ["answer 1", "answer 2"]
    assert len(asked) == 2


async def test_a_recording_is_replayed_without_a_model_and_what_is_missing_fails(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    await ask(answers("record").around(MODEL, asked.model()), "a")
    replayed = answers("replay").around(MODEL, asked.model())
    assert await ask(replayed, "a") == "answer 1"
    with pytest.raises(Unanswered, match="is no recording: make one with `poe eval --record`"):
        await ask(replayed, "b")
    assert asked == ["a"]


async def test_a_cache_is_kept_out_of_git_and_a_recording_is_not(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    await ask(answers("record").around(MODEL, asked.model()), "a")
    assert [path.suffix for path in answers("record").folder.iterdir()] == [".json"]
    await ask(answers("cache").around(MODEL, asked.model()), "b")
    assert (answers("cache").folder / ".gitignore").read_text() == "*\n"


async def test_a_file_that_is_broken_is_named(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    await ask(answers("record").around(MODEL, asked.model()), "a")
    for path in answers("record").folder.iterdir():
        path.write_text("{")
    with pytest.raises(Unanswered, match=r"\.json cannot be read: delete it"):
        await ask(answers("replay").around(MODEL, asked.model()), "a")
    assert await ask(answers("cache").around(MODEL, asked.model()), "a") == "answer 2"


async def test_an_answer_that_broke_off_is_not_kept(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    asked.whole = False
    await ask(answers("cache").around(MODEL, asked.model()), "a")
    asked.whole = True
    assert await ask(answers("cache").around(MODEL, asked.model()), "a") == "answer 2"


async def test_what_is_asked_anew_takes_the_place_of_what_was_kept(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    for mode in ("cache", "live", "cache"):
        last = await ask(answers(mode).around(MODEL, asked.model()), "a")
    assert (last, len(asked)) == ("answer 2", 2)


async def test_two_servers_with_a_model_of_one_name_are_two_models(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    for where in ("http://here/v1", "http://there/v1"):
        await ask(answers("cache").around(MODEL, asked.model(), where), "a")
    assert len(asked) == 2


async def test_a_stream_goes_round_nothing(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    model = answers("replay").around(MODEL, asked.model())
    with pytest.raises(Unanswered, match="ask for the whole answer"):
        model.request_stream([], None, ModelRequestParameters())
    assert asked == []


async def test_live_looks_into_no_file(answers: Callable[[Mode], Answers], asked: Asked) -> None:
    for _ in range(2):
        await ask(answers("live").around(MODEL, asked.model()), "a")
    assert len(asked) == 2


async def test_spending_ends_at_the_ceiling(tmp_path: Path, asked: Asked) -> None:
    kept = Answers(tmp_path, "cache", most_usd=0.3)
    model = kept.around(MODEL, asked.model())
    # A million tokens in cost 0.25 USD: the second goes beyond, and the third is refused.
    await ask(model, "a")
    await ask(model, "b")
    with pytest.raises(Unanswered, match=r"USD are spent, and --max-usd allows 0\.3"):
        await ask(model, "c")
    assert len(asked) == 2
    assert kept.spent_usd == Decimal("0.50")


async def test_without_a_known_price_no_ceiling_can_be_kept(tmp_path: Path, asked: Asked) -> None:
    free = Answers(tmp_path, "live")
    await ask(free.around("openai:odd", asked.model("odd")), "a")
    assert free.spent_usd == 0
    limited = Answers(tmp_path, "live", most_usd=1)
    with pytest.raises(Unanswered, match="What openai:odd costs is not known"):
        await ask(limited.around("openai:odd", asked.model("odd")), "a")


async def test_the_offline_model_is_asked_each_time_and_is_never_recorded(
    answers: Callable[[Mode], Answers], asked: Asked
) -> None:
    for _ in range(2):
        await ask(answers("cache").around("offline", asked.model("offline")), "a")
    assert len(asked) == 2
    with pytest.raises(Unanswered, match="no model to record"):
        answers("record").around("offline", asked.model("offline"))


def test_a_digest_does_not_know_when_it_was_made() -> None:
    digests = {
        digest_of(MODEL, [ModelRequest.user_text_prompt("a")], None, ModelRequestParameters())
        for _ in range(3)
    }
    assert len(digests) == 1
