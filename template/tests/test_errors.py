import asyncio

from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.errors import NotFound, ServiceError


class Order(BaseModel):
    amount: int


def install_routes(app: FastAPI) -> None:
    @app.post("/orders")
    async def order(order: Order) -> int:
        return order.amount

    @app.get("/missing")
    async def missing() -> None:
        raise NotFound("There is no such order: list them with GET /orders.")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")


def test_a_service_error_is_a_problem(app: FastAPI, client: TestClient) -> None:
    install_routes(app)
    answer = client.get("/missing")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such order: list them with GET /orders.",
        "code": "not_found",
    }


def test_an_invalid_request_names_each_field_and_repeats_nothing(
    app: FastAPI, client: TestClient
) -> None:
    install_routes(app)
    answer = client.post("/orders", json={"amount": "my-secret"})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ["amount"]
    assert "my-secret" not in answer.text


def test_a_body_that_is_no_json_is_a_problem(app: FastAPI, client: TestClient) -> None:
    install_routes(app)
    answer = client.post("/orders", content="{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "body: not JSON, at character 1"


def test_a_body_that_is_not_said_to_be_json_is_told_how_to_say_so(
    app: FastAPI, client: TestClient
) -> None:
    install_routes(app)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in ({}, form):
        answer = client.post("/orders", content='{"amount": 1}', headers=headers)
        assert answer.status_code == 422
        said = "body: send it with the header Content-Type: application/json"
        assert answer.json()["detail"] == said


def test_an_unknown_path_and_a_wrong_method_are_problems(client: TestClient) -> None:
    unknown, wrong = client.get("/nowhere"), client.post("/health/live")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET"


def test_an_error_of_the_owner_changes_no_other(app: FastAPI, client: TestClient) -> None:
    class OrderGone(ServiceError):
        status, code = 404, "order_gone"

    @app.get("/order")
    async def order() -> None:
        raise OrderGone("It was deleted.")

    @app.get("/unprocessable")
    async def unprocessable() -> None:
        raise HTTPException(422, "Not so.")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(499, "The client left.")

    assert client.get("/order").json()["code"] == "order_gone"
    assert client.get("/nowhere").json()["code"] == "not_found"
    assert client.get("/unprocessable").json()["code"] == "invalid_request"
    assert client.get("/teapot").json()["title"] == "Error"


def test_a_failure_of_the_code_reveals_nothing(app: FastAPI, client: TestClient) -> None:
    install_routes(app)
    answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.json()["detail"]


def test_a_service_error_in_a_task_group_keeps_its_status(app: FastAPI, client: TestClient) -> None:
    @app.get("/grouped")
    async def grouped() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())

    async def fail() -> None:
        raise NotFound("Nothing here.")

    assert client.get("/grouped").status_code == 404


def test_a_path_may_have_errors_in_a_format_of_its_own(app: FastAPI, client: TestClient) -> None:
    from starlette.responses import PlainTextResponse, Response

    def plain(error: ServiceError) -> Response:
        return PlainTextResponse(error.detail, error.status)

    app.state.error_formats["/missing"] = plain
    install_routes(app)
    assert client.get("/missing").text == "There is no such order: list them with GET /orders."
