"""Documents and search over HTTP. Whose they are follows from the key, never from the request."""

from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from structlog.contextvars import bound_contextvars

from app.rag.bodies import DocumentBody, SearchBody, UploadBody
from app.rag.documents import NewDocument, StoredDocument
from app.rag.parse import UnreadableDocument, media_type_of
from app.rag.retrieve import Passage

from app.errors import InvalidRequest, problems
from app.resources import Resources
from app.security import NEEDS_KEY

_STATUSES = (400, 401, 403, 413, 422, 429, 500, 503)
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "title": {"type": "string"},
        "metadata": {"type": "string", "description": "A JSON object"},
        "source_id": {"type": "string"},
    },
}
_EITHER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": DocumentBody.model_json_schema()},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}

router = APIRouter(
    prefix="/v1", tags=["documents"], dependencies=[NEEDS_KEY], responses=problems(*_STATUSES)
)


class DocumentList(BaseModel):
    """One page; `after` the last of these comes the next, where there were as many as asked for."""

    documents: list[StoredDocument]


class SearchResults(BaseModel):
    results: list[Passage]


@router.post("/documents", status_code=202, openapi_extra=_EITHER)
async def add_document(request: Request) -> StoredDocument:
    """Take in a text, or an uploaded file (Markdown, HTML, PDF): it is ingested from now on.

    What is there already keeps its id; another version of it takes its place once it is ready.
    """
    await _resources(request).index.check()
    multipart = request.headers.get("Content-Type", "").lower().startswith("multipart/form-data")
    try:
        new = await _uploaded(request) if multipart else await _written(request)
    except ValidationError as error:
        wrong = error.errors(include_context=False, include_url=False, include_input=False)
        # As any other error: Pydantic's own message says where a text stops to be JSON.
        located = [{**e, "type": "value_error", "loc": ("body", *e["loc"])} for e in wrong]
        raise RequestValidationError(located) from error
    return await _resources(request).documents.add(request.state.principal, new)


@router.get("/documents", responses=problems(404))
async def list_documents(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: UUID | None = None,
) -> DocumentList:
    """List your documents, the newest first."""
    documents = _resources(request).documents
    found = await documents.list(request.state.principal, limit=limit, after=after)
    return DocumentList(documents=list(found))


@router.get("/documents/{document_id}", responses=problems(404))
async def read_document(document_id: UUID, request: Request) -> StoredDocument:
    """Say how far a document is."""
    return await _resources(request).documents.get(request.state.principal, document_id)


@router.delete("/documents/{document_id}", status_code=204, responses=problems(404))
async def delete_document(document_id: UUID, request: Request) -> None:
    """Delete a document and all that was made of it."""
    await _resources(request).documents.delete(request.state.principal, document_id)


@router.post("/search", responses=problems(502))
async def search(body: SearchBody, request: Request) -> SearchResults:
    """Find passages of your documents, by meaning and by words."""
    with bound_contextvars(feature="search"):
        found = await _resources(request).retriever.retrieve(
            request.state.principal, body.query, limit=body.limit, filter=body.filter
        )
    return SearchResults(results=found)


async def _written(request: Request) -> NewDocument:
    body = DocumentBody.model_validate_json(await request.body())
    return NewDocument(
        title=body.title,
        content=body.text.encode(),
        media_type=body.media_type,
        metadata=body.metadata,
        source_id=body.source_id,
    )


async def _uploaded(request: Request) -> NewDocument:
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidRequest("file: send the document as a file of this name", param="file")
        texts = {name: value for name, value in form.items() if name != "file"}
        body = UploadBody.model_validate({"title": file.filename, **texts})
        try:
            media_type = media_type_of(file.filename or "", file.content_type)
        except UnreadableDocument as error:
            raise InvalidRequest(f"file: {error}", param="file") from error
        return NewDocument(
            title=body.title,
            content=await file.read(),
            media_type=media_type,
            metadata=body.metadata,
            source_id=body.source_id,
        )


def _resources(request: Request) -> Resources:
    return cast(Resources, request.app.state.resources)
