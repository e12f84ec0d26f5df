from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.api_keys import digest

from app.main import create_app
from app.settings import SecuritySettings, ServerSettings, Settings

ALICES, BOBS = "alice-has-this-key", "bob-has-another-key"


@contextmanager
def serving(
    security: SecuritySettings, *, peer: str = "127.0.0.1", host: str = "localhost"
) -> Iterator[TestClient]:
    """Run a service that answers `/whoami` with the principal."""
    app = create_app(Settings(security=security, server=ServerSettings(max_body_bytes=100)))

    @app.api_route("/whoami", methods=["GET", "POST"])
    async def whoami(request: Request) -> str:
        await request.body()
        return str(request.state.principal)

    with TestClient(app, base_url=f"http://{host}", client=(peer, 50_000)) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_each_key_names_its_principal() -> None:
    with serving(SecuritySettings(api_keys={"alice": ALICES, "bob": BOBS})) as client:
        assert client.get("/whoami", headers=bearer(ALICES)).json() == "alice"
        assert client.get("/whoami", headers=bearer(BOBS)).json() == "bob"


def test_a_key_may_be_configured_by_its_digest() -> None:
    with serving(SecuritySettings(api_keys={"alice": digest(ALICES)})) as client:
        assert client.get("/whoami", headers=bearer(ALICES)).json() == "alice"


def test_the_digest_itself_opens_nothing() -> None:
    with serving(SecuritySettings(api_keys={"alice": ALICES})) as client:
        assert client.get("/whoami", headers=bearer(digest(ALICES))).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("not-one-of-the-keys"), {"Authorization": f"Basic {ALICES}"}, bearer("")],
    ids=["none", "wrong", "another scheme", "empty"],
)
def test_without_a_valid_key_nothing_is_served(headers: dict[str, str]) -> None:
    with serving(SecuritySettings(api_keys={"alice": ALICES})) as client:
        for path in ("/whoami", "/openapi.json", "/docs", "/no-such-path"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["code"] == "invalid_api_key"


def test_health_needs_no_key() -> None:
    with serving(SecuritySettings(api_keys={"alice": ALICES})) as client:
        for path in ("/health/live", "/health/ready"):
            assert client.get(path).status_code == client.head(path).status_code == 200


def test_what_is_open_is_open_to_be_read_alone(app: FastAPI, client: TestClient) -> None:
    del client.headers["Authorization"]
    for pattern in app.state.open_paths:
        path = pattern.replace("*", "page.js")
        assert client.get(path).status_code == 200
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert client.request(method, path).status_code == 401


def test_what_only_resembles_an_open_path_is_not() -> None:
    with serving(SecuritySettings(api_keys={"alice": ALICES})) as client:
        for path in ("/health", "/health/live/", "/health/liver", "/web"):
            assert client.get(path).status_code == 401


@pytest.mark.parametrize(
    ("peer", "host"),
    [("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1:8000"), ("::1", "[::1]:8000")],
)
def test_without_any_keys_this_machine_is_served(peer: str, host: str) -> None:
    with serving(SecuritySettings(), peer=peer, host=host) as client:
        assert client.get("/whoami").json() == "local"


@pytest.mark.parametrize(
    ("peer", "host", "headers"),
    [
        ("10.0.0.7", "localhost", {}),
        ("10.0.0.7", "localhost", {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", "service.example", {}),
        ("127.0.0.1", "localhost.service.example", {}),
        ("127.0.0.1", "localhost", {"Origin": "https://elsewhere.example"}),
        ("127.0.0.1", "localhost", {"Origin": "null"}),
        ("not-an-address", "localhost", {}),
        ("127.0.0.1", "localhost", {"Host": "["}),
        ("127.0.0.1", "localhost", {"Origin": "http://["}),
    ],
)
def test_without_any_keys_nobody_else_is_served(
    peer: str, host: str, headers: dict[str, str]
) -> None:
    with serving(SecuritySettings(), peer=peer, host=host) as client:
        answer = client.get("/whoami", headers=headers)
        assert answer.status_code == 403
        assert "SECURITY__API_KEYS" in answer.json()["detail"]


def test_without_any_keys_a_page_of_this_service_may_call_it() -> None:
    with serving(SecuritySettings(), host="localhost:8000") as client:
        assert client.get("/whoami", headers={"Origin": "http://localhost:8000"}).is_success


def test_a_body_at_the_limit_is_read() -> None:
    with serving(SecuritySettings()) as client:
        assert client.post("/whoami", content=b"x" * 100).status_code == 200


def test_a_body_over_the_limit_is_refused() -> None:
    with serving(SecuritySettings()) as client:
        answer = client.post("/whoami", content=b"x" * 101)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "body_too_large"


def test_a_body_of_unknown_length_is_refused_at_the_limit() -> None:
    with serving(SecuritySettings()) as client:
        answer = client.post("/whoami", content=(b"x" * 60 for _ in range(2)))
        assert answer.status_code == 413
        assert answer.json()["code"] == "body_too_large"


def test_openapi_does_not_say_that_health_needs_a_key(app: FastAPI) -> None:
    assert "security" not in app.openapi()["paths"]["/health/live"]["get"]
