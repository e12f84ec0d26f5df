"""A module a provider, imported only where it serves a model: the SDKs are slow to load."""

from dataclasses import replace

from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.profiles import ModelProfile


def prefer_native(profile: ModelProfile) -> ModelProfile:
    """Let structured output be native where the model has it, and a tool else."""
    native = profile.get("supports_json_schema_output", False)
    return profile | ModelProfile(default_structured_output_mode="native" if native else "tool")


class CallersTools(Model):
    """Holds models to the service's own types, and sends the tools of callers as they wrote them.

    pydantic-ai rewrites schemas to suit each provider. That helps tools made from Python functions,
    but a caller's ("external") tools are run by the caller, who knows best what they accept.
    """

    def customize_request_parameters(
        self, model_request_parameters: ModelRequestParameters
    ) -> ModelRequestParameters:
        asked = model_request_parameters
        if asked.output_mode == "auto" and asked.output_object:
            # A type of the service's own: a field with a default would let go of the whole schema.
            asked = replace(asked, output_object=replace(asked.output_object, strict=True))
        written = asked.function_tools
        customized = super().customize_request_parameters(asked)
        pairs = zip(written, customized.function_tools, strict=True)
        tools = [own if own.kind == "external" else changed for own, changed in pairs]
        return replace(customized, function_tools=tools)
