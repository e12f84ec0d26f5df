"""No project speaks of what it has not: not in code, settings, dependencies, docs or CI."""

from __future__ import annotations

import re
from functools import cache

import pytest

from answers import CHOICES, VALID, Answers, label
from conftest import Render
from projects import tree

# What names a capability, or one value of a choice, in any file of a project.
WORDS = {
    "llm": r"(?<!fu)llm|openai|anthropic|claude|gpt|pydantic.?ai|prompt|chat|completion|offline"
    r"|language model|model (calls?|names?|ids?|answers?)|[a-z]_tokens|jinja|tenacity",
    "rag": r"\brag\b|rag_|rag[ -]|embed(?!ded)|retriev|pgvector|citation|\bcite|ingest|poe answer"
    r"|vector|passages?\b|word-?llama",
    "agent": r"app[./]agent|(?<!\w)agent\.md|AGENT__|settings\.agent|poe run\b|v1/runs|the agent\b",
    "database": r"embedded|postgres|database|psycopg|dbos|alembic|sqlalchemy|WORKER__"
    r"|poe (worker|db|migrate)",
    "evals": r"\bevals\b|poe eval\b|scipy|harvest",
    "monitoring": r"monitor|opentelemetry|otlp|otel_|prometheus|\bmetrics?\b|\bspans\b|\btraces\b"
    r"|trace_id|logfire|langfuse|harvest|v1/feedback",
    "docker": r"docker|compose\b|container|\bimages?\b|podman|buildah|hadolint",
    "ci": r"github|gitlab|dependabot|renovate|workflow|pipeline|continuous integration"
    r"|(?<!\")\bci\b",
    "llm_provider=openai": r"openai",
    "llm_provider=anthropic": r"anthropic|claude",
    "ci_provider=github": r"github|dependabot",
    "ci_provider=gitlab": r"gitlab|renovate",
}
# What `path: line` may say all the same, and why.
ALLOWED = {
    "llm": {
        r"^(src/app/(rag/|settings)|tests/rag/).*": "its embeddings may be a provider's",
        r"openai:(text-embedding\S*|…)|(?i:openai_api_key)\S*": "likewise",
        r"EMBEDDING_MODEL\S*offline\S*": "likewise",
        r"^\.env\.example.*(offline|another one needs).*|RAG__CHUNK_TOKENS\S*": "likewise",
        r"^docs/splitter.*max_tokens.*": "how long a piece may be",
        r"^pyproject.*(pydantic-ai-slim\[openai\]|tenacity).*": "likewise",
        r"^(tests/)?evals/(engine|evaluators|__main__|baselines|test_main).*": "as evals may",
        r"^pyproject.*(pydantic-ai-slim\[evals\]|jinja2).*": "likewise",
        r"^docs/evals.*`?\boffline\b.*": "what is asked where no model is",
        r"^((src/app|tests)/monitoring/|docs/(measures|costs)).*": "all names stand together",
        r"^docs/(langfuse|phoenix).*": "and what reads them is made for models",
    },
    "rag": {
        r"^docs/chat-api.*for embeddings.*": "what the API of others has, and this one has not",
        r"^(src/app/monitoring/(names|metrics)|docs/measures).*": "all names stand together",
        r"x-langfuse-ingestion-version\S*": "a name that Langfuse gave",
        r"^tests/monitoring/test_traces.*": "and any of them serves as an example",
        r"\bvector\(0\)": "what is zero for Prometheus",
        r"^docs/quality.*|^tests/monitoring/quality/test_responses.*": "and so do all checks",
        r"^((src/app|tests)/monitoring/drift|docs/drift).*": "what a text is about is one, too",
    },
    "evals": {
        r"^(pyproject|(src/app|tests)/monitoring/drift).*scipy.*": "drift needs it as well",
    },
    "monitoring": {
        r"^pyproject.*opentelemetry-api.*": "whoever else traces a service",
        r"^(src/app|tests)/(test_)?telemetry.*": "finds the traces in its logs",
        r"^src/app/(workflows/queue|agent/research).*": "and work in that of its request",
        r"^(tests/)?evals/.*": "a metric is what a case scores",
    },
    "docker": {
        r"^\.gitlab/.*: +image: .*": "GitLab runs every job in an image",
        r"^((src/app|tests)/llm/|docs/chat-api).*": "an image in a message is a picture",
        r"^(src/app|tests)/rag/(test_)?parse.*": "and so is one in a document",
    },
    "ci": {
        r"https://github\.com/\S+": "the address of a project that this one uses",
        r"^(src/app|tests)/(workflows|rag|db|agent)/.*": "a workflow of DBOS is work in steps",
        r"^((src/app|tests)/monitoring/|docs/measures).*": "likewise",
        r"gen_ai_workflow_name": "likewise",
        r"\b(app|tests)[./](monitoring[./])?workflows\S*|(ingestion|work)\.workflows?": "likewise",
        r"\bWorkflow\b|\bdrift\.workflow\b": "likewise",
        r"^docs/collector.*pipelines:": "what goes through a collector",
        r"</?ci\b": "the beginning of a tag that cites",
        r"^(tests/)?evals/.*": "reports are for whatever pipeline reads them",
    },
    "llm_provider=openai": {
        r".*": "the service's own API is OpenAI's, whoever answers",
    },
    "llm_provider=anthropic": {
        r"^(src/app|tests)/llm/.*": "a choice picks files; what is around them serves every one",
        r"^tests/monitoring/test_metered.*": "likewise",
        r"^(tests/)?evals/evaluators/(test_)?judge.*": "a judge may be anybody's",
    },
}


def absent(answers: Answers) -> list[str]:
    """Return the names in WORDS of all that these answers leave out."""
    off = [name for name, value in answers.items() if value is False]
    kept = answers["rag"] or answers["agent"] or (answers["llm"] and answers["monitoring"])
    off += [] if kept else ["database"]
    other = [
        f"{name}={value}"
        for name, choice in CHOICES.items()
        for value in choice.values
        if name in answers and answers[name] not in {value, "both"} and value != "both"
    ]
    return off + other


@pytest.mark.parametrize("answers", VALID, ids=label)
def test_a_project_names_nothing_that_it_has_not(answers: Answers, render: Render) -> None:
    named = [
        where
        for path, (_, content) in tree(render(answers)).items()
        if path != ".copier-answers.yml"
        for what in absent(answers)
        for where in naming(what, path, content)
    ]
    assert not named, "\n".join(named)


@cache  # Most files are the same in most projects.
def naming(what: str, path: str, content: bytes) -> list[str]:
    """Return where this file names `what`."""
    return [
        f"{path}:{number}: {what}: {line.strip()}"
        for number, line in enumerate([path, *content.decode().splitlines()])
        if re.search(WORDS[what], unexplained(what, path, line), re.IGNORECASE)
    ]


def unexplained(what: str, path: str, line: str) -> str:
    """Return the line without what it may say."""
    allowed = "|".join(ALLOWED.get(what, {})) or r"(?!)"
    return re.sub(allowed, "", f"{path}: {line}").removeprefix(f"{path}: ")
