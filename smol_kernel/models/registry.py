"""Models by the names of their classes, for what was saved with `to_dict`."""

from __future__ import annotations

from typing import Any

from smol_kernel.errors import ModelError
from smol_kernel.models.base import Model
from smol_kernel.models.cassette import CassetteModel
from smol_kernel.models.fallback import FallbackModel
from smol_kernel.models.litellm import LiteLLMModel, LiteLLMRouterModel
from smol_kernel.models.providers import AmazonBedrockModel, AzureOpenAIModel, InferenceClientModel, OpenAIModel

CLASSES: dict[str, type[Model]] = {  # by the names that saved agents have for them
    "AmazonBedrockModel": AmazonBedrockModel,
    "AmazonBedrockServerModel": AmazonBedrockModel,
    "AzureOpenAIModel": AzureOpenAIModel,
    "AzureOpenAIServerModel": AzureOpenAIModel,
    "CassetteModel": CassetteModel,
    "FallbackModel": FallbackModel,
    "HfApiModel": InferenceClientModel,
    "InferenceClientModel": InferenceClientModel,
    "LiteLLMModel": LiteLLMModel,
    "LiteLLMRouterModel": LiteLLMRouterModel,
    "OpenAIModel": OpenAIModel,
    "OpenAIServerModel": OpenAIModel,
}
"""A closed list: a saved file may name nothing else."""


def model_from_dict(class_name: str, data: dict[str, Any]) -> Model:
    """The model of class `class_name` with the settings `data`. Raises ModelError for any other class."""
    if class_name not in CLASSES:
        raise ModelError(
            f"a saved model is of the class {class_name!r}, which cannot be made again; pass the model itself "
            f"(these can: {', '.join(CLASSES)})"
        )
    return CLASSES[class_name].from_dict(data)
