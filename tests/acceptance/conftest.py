"""A stub of both providers, services that ask it, and a browser; each is started once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from openai import OpenAI
from playwright.sync_api import Browser
from stubs import Reply, Stub, running_stub

from acceptance.browser import Open, launched, watched
from acceptance.services import Service, running, service_with
from answers import label
from conftest import Install

# Name -> provider of the service, and the model that it is configured with.
WAYS = {
    "offline": ("openai", None),
    "openai-chat": ("openai", "openai-chat:gpt-6-luna"),
    "openai": ("openai", "openai:gpt-6-luna"),
    "anthropic": ("anthropic", "anthropic:claude-haiku-5-5"),
}


@dataclass(frozen=True)
class Route:
    """One way that a conversation can take through a service; `stub` is None offline."""

    way: str
    service: Service
    stub: Stub | None

    @property
    def client(self) -> OpenAI:
        return self.service.client()

    @property
    def model(self) -> str:
        return WAYS[self.way][1] or "offline"

    def script(self, *replies: Reply) -> None:
        """Say what the provider answers, where there is one."""
        if self.stub:
            self.stub.script(*replies)


def ways(*names: str) -> list[object]:
    """Return the parameters of a fixture; one worker takes all tests of one service."""
    groups = {name: label(service_with(WAYS[name][0])) for name in names}
    return [pytest.param(n, marks=pytest.mark.xdist_group(g)) for n, g in groups.items()]


@pytest.fixture(scope="session")
def stub_server() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture(scope="session")
def services(
    install: Install, stub_server: Stub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    """Services by way, each started when it is first asked for."""
    logs = tmp_path_factory.mktemp("logs")
    key = "sk-for-the-stub"
    settings = {
        "offline": {},
        "anthropic": {"ANTHROPIC_API_KEY": key, "LLM__BASE_URL": stub_server.url},
    }
    openai = {"OPENAI_API_KEY": key, "LLM__BASE_URL": stub_server.openai_url}
    with ExitStack() as stack:

        class Started(dict[str, Service]):
            def __missing__(self, way: str) -> Service:
                provider, model = WAYS[way]
                asked = {"LLM__MODEL": model} if model else {}
                project = install(service_with(provider))
                own = {**asked, **settings.get(way, openai)}
                self[way] = stack.enter_context(running(project, logs / f"{way}.log", **own))
                return self[way]

        yield Started()


def _route(way: str, services: dict[str, Service], stub: Stub) -> Iterator[Route]:
    yield Route(way, services[way], None if way == "offline" else stub)
    left = stub.forget()
    assert not left, f"the provider was not asked for {left}"


@pytest.fixture(params=ways("offline", "openai-chat", "openai", "anthropic"))
def route(
    request: pytest.FixtureRequest, services: dict[str, Service], stub_server: Stub
) -> Iterator[Route]:
    """Each way that an answer can come."""
    yield from _route(request.param, services, stub_server)


@pytest.fixture(params=ways("openai-chat", "openai", "anthropic"))
def upstream(
    request: pytest.FixtureRequest, services: dict[str, Service], stub_server: Stub
) -> Iterator[Route]:
    """Each way that leads to a provider."""
    yield from _route(request.param, services, stub_server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, service: Service) -> Iterator[Open]:
    """Opens the page of the `service` that a module has a fixture for, and watches it."""
    with watched(browser, service.address) as open_page:
        yield open_page
