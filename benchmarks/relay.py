"""The least that passes a stream on with the usual libraries; it checks, limits and logs nothing.

Run as a process: `python relay.py PORT BASE_URL`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI


def create_relay(base_url: str) -> FastAPI:
    app, client = FastAPI(), AsyncOpenAI(api_key="none", base_url=base_url)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> StreamingResponse:
        body: dict[str, Any] = await request.json()
        stream = await client.chat.completions.create(**body)

        async def events() -> AsyncIterator[str]:
            async for chunk in stream:
                yield f"data: {chunk.model_dump_json()}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


if __name__ == "__main__":
    # As the service runs.
    uvicorn.run(
        create_relay(sys.argv[2]),
        port=int(sys.argv[1]),
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
