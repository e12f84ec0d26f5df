"""Search the documents of whoever began the run."""

from pydantic import BaseModel
from pydantic_ai import RunContext, Tool

from app.agent.durable import UNTRUSTED, Scope
from app.rag.retrieve import Retrieves


class Found(BaseModel):
    title: str
    text: str


def tool(retriever: Retrieves) -> Tool[Scope]:
    """Make the tool that asks `retriever`."""

    async def search_documents(ctx: RunContext[Scope], query: str) -> list[Found]:
        """Find passages of the user's documents, by meaning and by words.

        Args:
            query: A question, or words that stand in the documents.
        """
        passages = await retriever.retrieve(ctx.deps.principal, query, limit=5)
        return [Found(title=passage.title, text=passage.text) for passage in passages]

    return Tool(search_documents, metadata={UNTRUSTED: True}, timeout=30)
