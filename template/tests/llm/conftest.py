"""What the tests of the language model share: a provider to call, and models told what to say."""

from collections.abc import Callable, Iterator

import pytest

from tests.llm.scripted import ScriptedModel, Turn
from tests.llm.stubs import Stub, running_stub

Scripted = Callable[..., ScriptedModel]


@pytest.fixture(scope="session")
def stub_server() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture
def stub(stub_server: Stub) -> Iterator[Stub]:
    """A local server that is OpenAI and Anthropic; what a test leaves unsaid is its failure."""
    yield stub_server
    left = stub_server.forget()
    assert not left, f"the stub was not asked for {left}"


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Makes models that take the given turns; each must have taken all of them in the end."""
    models: list[ScriptedModel] = []

    def make(*turns: Turn | str, name: str = "scripted") -> ScriptedModel:
        models.append(model := ScriptedModel(*turns, name=name))
        return model

    yield make
    for model in models:
        model.finish()
