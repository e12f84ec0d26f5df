"""A module a provider, imported only where it serves a model: the SDKs are slow to load."""

from dataclasses import replace

from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.profiles import ModelProfile


def prefer_native(profile: ModelProfile) -> ModelProfile:
    """Let structured output be native where the model has it, and a tool else."""
    native = profile.get("supports_json_schema_output", False)
    return profile | ModelProfile(default_structured_output_mode="native" if native else "tool")


class CallersTools(Model):
    """Sends the tools of the API's callers as they wrote them.

    pydantic-ai rewrites schemas to suit each provider. That helps tools made from Python functions,
    but a caller's ("external") tools are run by the caller, who knows best what they accept.
    """

    def customize_request_parameters(
        self, model_request_parameters: ModelRequestParameters
    ) -> ModelRequestParameters:
        written = model_request_parameters.function_tools
        customized = super().customize_request_parameters(model_request_parameters)
        pairs = zip(written, customized.function_tools, strict=True)
        tools = [own if own.kind == "external" else changed for own, changed in pairs]
        return replace(customized, function_tools=tools)
