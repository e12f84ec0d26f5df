"""Score what callers get: as events of the traces, as metrics, and in a row a response.

Whatever goes wrong here is logged and nothing else: an answer is worth more.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import structlog
from opentelemetry.trace import get_current_span
from structlog.contextvars import get_contextvars

from app.llm.calls import Call
from app.llm.failures import sendable
from app.llm.offline import user_texts
from app.monitoring import names
from app.monitoring.metrics import Labels, Metrics
from app.monitoring.quality.checks import LOW, check
from app.monitoring.quality.responses import Response, Responses
from app.monitoring.redact import Redact
from app.monitoring.traces import purpose

# Says as numbers what a text is about.
Topic = Callable[[str], Sequence[float]]
_log: Final = structlog.stdlib.get_logger("app.monitoring")


class Quality:
    """Scores responses. `redact` is None where no content is captured."""

    def __init__(
        self,
        responses: Responses,
        metrics: Metrics,
        redact: Redact | None,
        topic: Topic | None = None,
    ) -> None:
        self._responses = responses
        self._metrics = metrics
        self._redact = redact
        self._topic = topic

    def note(self, call: Call) -> None:
        """Score what a call of a model came to."""
        with _harmless():
            if (response := call.response) is None:
                return
            scores = check(call)
            called = [tool.args_as_json_str() for tool in response.tool_calls]
            said = response.text or "\n".join(called)
            labels: Labels = {names.RESPONSE_MODEL: call.model_name}
            if response.provider_name:
                labels[names.PROVIDER] = response.provider_name
            asked, refused = user_texts(call.asked), not scores["refusal"]
            self._add(asked, said, call.model_name, scores, labels, refused)

    def note_more(self, asked: str, said: str, model: str, scores: Mapping[str, float]) -> None:
        """Note what else is known of a response, after the call that it came of, if any."""
        with _harmless():
            self._add([asked], said, model, scores, {names.RESPONSE_MODEL: model}, None)

    def _add(
        self,
        asked: Sequence[str],
        said: str,
        model: str,
        scores: Mapping[str, float],
        labels: Labels,
        refused: bool | None,
    ) -> None:
        # What has no id, such as an answer in the terminal, nobody can come back to.
        bound, labels = get_contextvars(), {**labels, **purpose()}
        if not (id := bound.get("response_id")):
            return
        for name, score in scores.items():
            self._tell(str(id), name, score, labels)
        last = asked[-1] if asked else ""
        request, response = self._content(asked, said)
        self._responses.add(
            Response(
                id=str(id),
                principal=bound.get("principal"),
                feature=str(labels.get(names.FEATURE, "")),
                model=model,
                prompt=str(labels.get(names.PROMPT, "")),
                prompt_version=str(labels.get(names.PROMPT_VERSION, "")),
                created_at=datetime.now(UTC),
                input_chars=len(last),
                output_chars=len(said),
                refused=refused,
                scores=dict(scores),
                topic=self._topic(last) if self._topic else None,
                request=request,
                response=response,
            )
        )

    def _tell(self, id: str, name: str, score: float, labels: Labels) -> None:
        label = "fail" if score < LOW else "pass"
        told: Labels = {
            names.EVALUATION: name,
            names.SCORE: score,
            names.SCORE_LABEL: label,
            names.ANSWER_ID: id,
        }
        get_current_span().add_event(names.EVALUATION_RESULT, told)
        self._metrics.scores.record(score, {**labels, names.EVALUATION: name})

    def _content(self, asked: Sequence[str], said: str) -> tuple[str | None, str | None]:
        if not self._redact:
            return None, None
        # Postgres stores no NUL.
        *kept, last = [sendable(self._redact(text)).replace("\0", "") for text in (*asked, said)]
        return json.dumps(kept, ensure_ascii=False), last


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _log.warning("an answer is not scored", error=type(error).__name__)
