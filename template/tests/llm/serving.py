"""The service with a model that a test brings, without and with a server around it."""

import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from pydantic_ai.models import Model

from app.llm.calls import Calls
from app.llm.chat import Chat
from app.llm.classify import Classification, Classified
from app.llm.extract import Document, Extraction
from app.llm.models import Models
from app.llm.settings import LLMSettings, provider_of
from app.llm.structured import Structured

from app.resources import Resources, open_resources
from app.settings import SecuritySettings, Settings
from tests.conftest import KEY
from tests.llm.stubs import Stub

Opener = Callable[[Settings], AbstractAsyncContextManager[Resources]]


def llm_settings(**llm: Any) -> Settings:
    """Return settings with Alice's key and these of the language model."""
    security = SecuritySettings(api_keys={"alice": KEY})
    return Settings(security=security, llm=LLMSettings(**llm))


def opening(*models: Model) -> Opener:
    """Open the service's resources with these models, which are called by their own names."""

    @asynccontextmanager
    async def open_own(settings: Settings) -> AsyncGenerator[Resources]:
        own = Models({model.model_name: model for model in models}, {})
        async with open_resources(settings) as resources:
            calls = Calls(own, settings.llm, settings.server.request_seconds)
            prompts = resources.prompts
            yield replace(
                resources,
                models=own,
                chat=Chat(calls, prompts.get("chat")),
                extract=Structured(calls, prompts.get("extract"), Document, Extraction),
                classify=Structured(calls, prompts.get("classify"), Classification, Classified),
            )

    return open_own


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve `app` on a free port of the loopback interface; yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the service did not start"
                thread.join(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


MODELS = [
    model
    for model in ("openai:m", "openai-chat:m", "anthropic:m")
    if find_spec(f"app.llm.providers.{provider_of(model)}")
]
every_model = pytest.mark.parametrize("model", MODELS)


def stub_settings(stub: Stub, model: str, **sections: Any) -> Settings:
    """Return settings under which `model` is the stub's."""
    llm = LLMSettings(model=model, base_url=stub.base_url(model))
    keys = {f"{provider_of(model)}_api_key": SecretStr("a-key") for model in MODELS}
    return llm_settings().model_copy(update={"llm": llm, **keys, **sections})
