"""Chat: does it follow a conversation, and keep to what it was told?"""

from pydantic_ai import ModelRequest
from pydantic_ai.messages import ModelMessage
from pydantic_evals import Dataset

from app.llm.chat import ChatRequest

from app.resources import Resources
from evals.engine.asked import asked_with
from evals.engine.eval import About, Eval
from evals.evaluators.text import Says

# What the user says, one message after the other; each is answered.
Turns = list[str]


async def ask(resources: Resources, turns: Turns) -> str:
    """Return the answer to the last message."""
    messages: list[ModelMessage] = []
    said = ""
    for text in turns:
        messages.append(ModelRequest.user_text_prompt(text))
        answer = await resources.chat.reply(ChatRequest(messages))
        messages.append(answer)
        said = answer.text or ""
    return said


EVAL = Eval(
    dataset=Dataset[Turns, str, About],
    ask=ask,
    asked=asked_with("chat"),
    evaluators=[Says()],
    floors={"all": 0.8},
    rubric="It does what the last message asks, with what the messages before it say, and no more.",
)
