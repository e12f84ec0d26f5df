"""Every name that traces and metrics use.

They are those of OpenTelemetry's conventions for generative AI as of 1.41, the generation that most
backends read; `inference.usage` and the durations of agents and tools are of the next, as that one
has none. What no convention names begins with `app.`
"""

from typing import Final

# Operations
CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
RETRIEVAL: Final = "retrieval"

# Attributes of spans that are labels of metrics, too: each has few values.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
AGENT: Final = "gen_ai.agent.name"
TOOL: Final = "gen_ai.tool.name"
WORKFLOW: Final = "gen_ai.workflow.name"
DATA_SOURCE: Final = "gen_ai.data_source.id"
PROMPT: Final = "gen_ai.prompt.name"
PROMPT_VERSION: Final = "app.prompt.version"
FEATURE: Final = "app.feature"
KIND_OF_TOKENS: Final = "gen_ai.token.type"
ERROR: Final = "error.type"
ESTIMATED: Final = "app.cost.estimated"
EVALUATION: Final = "gen_ai.evaluation.name"
RATING: Final = "app.feedback.rating"
DRIFT_MEASURE: Final = "app.drift.measure"

# Attributes of spans
SERVER: Final = "server.address"
STREAM: Final = "gen_ai.request.stream"
OUTPUT_TYPE: Final = "gen_ai.output.type"
REQUEST_SETTINGS: Final = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
}
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_ID: Final = "gen_ai.response.id"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
DIMENSIONS: Final = "gen_ai.embeddings.dimension.count"
TOP_K: Final = "gen_ai.request.top_k"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
FOUND: Final = "app.retrieval.found"
WORKFLOW_ID: Final = "app.workflow.id"

# Events of spans, and their attributes
EVALUATION_RESULT: Final = "gen_ai.evaluation.result"
SCORE: Final = "gen_ai.evaluation.score.value"
SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
ANSWER_ID: Final = "app.response.id"

# Attributes that hold content, where it is captured
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
DOCUMENTS: Final = "gen_ai.retrieval.documents"

# Metrics
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
USAGE: Final = "gen_ai.client.token.usage"
CACHE_READ_USAGE: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
CACHE_WRITE_USAGE: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
REASONING_USAGE: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
EVALUATION_SCORE: Final = "app.evaluation.score"
FEEDBACK: Final = "app.feedback"
COST: Final = "app.cost"
UNPRICED: Final = "app.calls.unpriced"
BUDGET_USED: Final = "app.budget.used"
BUDGET_REFUSED: Final = "app.budget.refused"
LEDGER_LOST: Final = "app.ledger.lost"
DRIFT_SCORE: Final = "app.drift.score"
DRIFT_P_VALUE: Final = "app.drift.p_value"
