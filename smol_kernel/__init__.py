"""Agents that act by writing code, in the Jupyter notebook. The public names, each loaded when it is first used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError("smol-kernel needs Linux or macOS; on Windows, install and run it in WSL")

if TYPE_CHECKING:
    from smol_kernel.agents.code_agent import CodeAgent as CodeAgent
    from smol_kernel.agents.managed_agent import AgentRecipe as AgentRecipe
    from smol_kernel.agents.multi_step import MultiStepAgent as MultiStepAgent
    from smol_kernel.agents.results import RunResult as RunResult
    from smol_kernel.agents.tool_calling_agent import ToolCallingAgent as ToolCallingAgent
    from smol_kernel.errors import AgentBudgetError as AgentBudgetError
    from smol_kernel.errors import AgentError as AgentError
    from smol_kernel.errors import AgentExecutionError as AgentExecutionError
    from smol_kernel.errors import AgentGenerationError as AgentGenerationError
    from smol_kernel.errors import AgentMaxStepsError as AgentMaxStepsError
    from smol_kernel.errors import AgentParsingError as AgentParsingError
    from smol_kernel.errors import AgentToolCallError as AgentToolCallError
    from smol_kernel.errors import AgentToolExecutionError as AgentToolExecutionError
    from smol_kernel.errors import CassetteMissError as CassetteMissError
    from smol_kernel.errors import SmolError as SmolError
    from smol_kernel.executors.base import CodeOutput as CodeOutput
    from smol_kernel.executors.base import PythonExecutor as PythonExecutor
    from smol_kernel.executors.interpreter_tool import PythonInterpreterTool as PythonInterpreterTool
    from smol_kernel.executors.kernel import KernelExecutor as KernelExecutor
    from smol_kernel.executors.local import LocalPythonExecutor as LocalPythonExecutor
    from smol_kernel.executors.values import RemoteValue as RemoteValue
    from smol_kernel.journal import Journal as Journal
    from smol_kernel.memory.budget import Budget as Budget
    from smol_kernel.memory.messages import ChatMessage as ChatMessage
    from smol_kernel.memory.messages import ChatMessageStreamDelta as ChatMessageStreamDelta
    from smol_kernel.memory.messages import ChatMessageToolCall as ChatMessageToolCall
    from smol_kernel.memory.messages import ChatMessageToolCallFunction as ChatMessageToolCallFunction
    from smol_kernel.memory.messages import ChatMessageToolCallStreamDelta as ChatMessageToolCallStreamDelta
    from smol_kernel.memory.messages import MessageRole as MessageRole
    from smol_kernel.memory.messages import agglomerate_stream_deltas as agglomerate_stream_deltas
    from smol_kernel.memory.monitoring import AgentLogger as AgentLogger
    from smol_kernel.memory.monitoring import CallbackRegistry as CallbackRegistry
    from smol_kernel.memory.monitoring import LogLevel as LogLevel
    from smol_kernel.memory.monitoring import Monitor as Monitor
    from smol_kernel.memory.rich_values import AgentAudio as AgentAudio
    from smol_kernel.memory.rich_values import AgentImage as AgentImage
    from smol_kernel.memory.rich_values import AgentText as AgentText
    from smol_kernel.memory.rich_values import AgentType as AgentType
    from smol_kernel.memory.rich_values import handle_agent_output_types as handle_agent_output_types
    from smol_kernel.memory.steps import ActionOutput as ActionOutput
    from smol_kernel.memory.steps import ActionStep as ActionStep
    from smol_kernel.memory.steps import AgentMemory as AgentMemory
    from smol_kernel.memory.steps import FinalAnswerStep as FinalAnswerStep
    from smol_kernel.memory.steps import MemoryStep as MemoryStep
    from smol_kernel.memory.steps import PlanningStep as PlanningStep
    from smol_kernel.memory.steps import StreamEvent as StreamEvent
    from smol_kernel.memory.steps import SystemPromptStep as SystemPromptStep
    from smol_kernel.memory.steps import TaskStep as TaskStep
    from smol_kernel.memory.steps import ToolCall as ToolCall
    from smol_kernel.memory.steps import ToolOutput as ToolOutput
    from smol_kernel.memory.usage import Timing as Timing
    from smol_kernel.memory.usage import TokenUsage as TokenUsage
    from smol_kernel.models.api import ApiModel as ApiModel
    from smol_kernel.models.base import Model as Model
    from smol_kernel.models.cassette import CassetteModel as CassetteModel
    from smol_kernel.models.fallback import FallbackModel as FallbackModel
    from smol_kernel.models.litellm import LiteLLMModel as LiteLLMModel
    from smol_kernel.models.litellm import LiteLLMRouterModel as LiteLLMRouterModel
    from smol_kernel.models.prompt_templates import EMPTY_PROMPT_TEMPLATES as EMPTY_PROMPT_TEMPLATES
    from smol_kernel.models.prompt_templates import FinalAnswerPromptTemplate as FinalAnswerPromptTemplate
    from smol_kernel.models.prompt_templates import ManagedAgentPromptTemplate as ManagedAgentPromptTemplate
    from smol_kernel.models.prompt_templates import PlanningPromptTemplate as PlanningPromptTemplate
    from smol_kernel.models.prompt_templates import PromptTemplates as PromptTemplates
    from smol_kernel.models.providers import AmazonBedrockModel as AmazonBedrockModel
    from smol_kernel.models.providers import AmazonBedrockServerModel as AmazonBedrockServerModel
    from smol_kernel.models.providers import AzureOpenAIModel as AzureOpenAIModel
    from smol_kernel.models.providers import AzureOpenAIServerModel as AzureOpenAIServerModel
    from smol_kernel.models.providers import HfApiModel as HfApiModel
    from smol_kernel.models.providers import InferenceClientModel as InferenceClientModel
    from smol_kernel.models.providers import OpenAIModel as OpenAIModel
    from smol_kernel.models.providers import OpenAIServerModel as OpenAIServerModel
    from smol_kernel.models.quirks import supports_stop_parameter as supports_stop_parameter
    from smol_kernel.models.replies import get_tool_call_from_text as get_tool_call_from_text
    from smol_kernel.models.replies import parse_json_if_needed as parse_json_if_needed
    from smol_kernel.models.replies import remove_content_after_stop_sequences as remove_content_after_stop_sequences
    from smol_kernel.models.requests import REMOVE_PARAMETER as REMOVE_PARAMETER
    from smol_kernel.models.requests import get_clean_message_list as get_clean_message_list
    from smol_kernel.models.requests import get_tool_json_schema as get_tool_json_schema
    from smol_kernel.models.requests import tool_role_conversions as tool_role_conversions
    from smol_kernel.models.scripted import ScriptedModel as ScriptedModel
    from smol_kernel.tools.base import Tool as Tool
    from smol_kernel.tools.base import tool as tool
    from smol_kernel.tools.checking import validate_tool_arguments as validate_tool_arguments
    from smol_kernel.tools.collection import ToolCollection as ToolCollection
    from smol_kernel.tools.defaults.api_search import ApiWebSearchTool as ApiWebSearchTool
    from smol_kernel.tools.defaults.api_search import GoogleSearchTool as GoogleSearchTool
    from smol_kernel.tools.defaults.duckduckgo_search import DuckDuckGoSearchTool as DuckDuckGoSearchTool
    from smol_kernel.tools.defaults.final_answer import FinalAnswerTool as FinalAnswerTool
    from smol_kernel.tools.defaults.user_input import UserInputTool as UserInputTool
    from smol_kernel.tools.defaults.visit_webpage import VisitWebpageTool as VisitWebpageTool
    from smol_kernel.tools.defaults.web_search import WebSearchTool as WebSearchTool
    from smol_kernel.tools.defaults.wikipedia_search import WikipediaSearchTool as WikipediaSearchTool
    from smol_kernel.tools.mcp import MCPClient as MCPClient
    from smol_kernel.tools.rendering import populate_template as populate_template
    from smol_kernel.tools.schema import AUTHORIZED_TYPES as AUTHORIZED_TYPES

__version__ = "0.1.0"

_HOMES = {
    "agents.code_agent": "CodeAgent",
    "agents.managed_agent": "AgentRecipe",
    "agents.multi_step": "MultiStepAgent",
    "tools.rendering": "populate_template",
    "agents.results": "RunResult",
    "agents.tool_calling_agent": "ToolCallingAgent",
    "errors": "AgentBudgetError AgentError AgentExecutionError AgentGenerationError AgentMaxStepsError "
    "AgentParsingError AgentToolCallError AgentToolExecutionError CassetteMissError SmolError",
    "executors.base": "CodeOutput PythonExecutor",
    "executors.interpreter_tool": "PythonInterpreterTool",
    "executors.kernel": "KernelExecutor",
    "executors.local": "LocalPythonExecutor",
    "executors.values": "RemoteValue",
    "journal": "Journal",
    "memory.budget": "Budget",
    "memory.messages": "ChatMessage ChatMessageStreamDelta ChatMessageToolCall ChatMessageToolCallFunction "
    "ChatMessageToolCallStreamDelta MessageRole agglomerate_stream_deltas",
    "memory.monitoring": "AgentLogger CallbackRegistry LogLevel Monitor",
    "memory.rich_values": "AgentAudio AgentImage AgentText AgentType handle_agent_output_types",
    "memory.steps": "ActionOutput ActionStep AgentMemory FinalAnswerStep MemoryStep PlanningStep "
    "StreamEvent SystemPromptStep TaskStep ToolCall ToolOutput",
    "memory.usage": "Timing TokenUsage",
    "models.base": "Model",
    "models.api": "ApiModel",
    "models.cassette": "CassetteModel",
    "models.fallback": "FallbackModel",
    "models.litellm": "LiteLLMModel LiteLLMRouterModel",
    "models.prompt_templates": "EMPTY_PROMPT_TEMPLATES FinalAnswerPromptTemplate ManagedAgentPromptTemplate "
    "PlanningPromptTemplate PromptTemplates",
    "models.providers": "AmazonBedrockModel AmazonBedrockServerModel AzureOpenAIModel AzureOpenAIServerModel "
    "HfApiModel InferenceClientModel OpenAIModel OpenAIServerModel",
    "models.quirks": "supports_stop_parameter",
    "models.replies": "get_tool_call_from_text parse_json_if_needed remove_content_after_stop_sequences",
    "models.requests": "REMOVE_PARAMETER get_clean_message_list get_tool_json_schema tool_role_conversions",
    "models.scripted": "ScriptedModel",
    "tools.base": "Tool tool",
    "tools.checking": "validate_tool_arguments",
    "tools.collection": "ToolCollection",
    "tools.defaults.api_search": "ApiWebSearchTool GoogleSearchTool",
    "tools.defaults.duckduckgo_search": "DuckDuckGoSearchTool",
    "tools.defaults.final_answer": "FinalAnswerTool",
    "tools.defaults.user_input": "UserInputTool",
    "tools.defaults.visit_webpage": "VisitWebpageTool",
    "tools.defaults.web_search": "WebSearchTool",
    "tools.defaults.wikipedia_search": "WikipediaSearchTool",
    "tools.mcp": "MCPClient",
    "tools.schema": "AUTHORIZED_TYPES",
}
_PUBLIC = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names.split()}

_NOT_BUILT = """
AGENT_REGISTRY BASE_BUILTIN_MODULES BaseTool BlaxelExecutor CODEAGENT_RESPONSE_FORMAT DockerExecutor
DocstringParsingException E2BExecutor ExecutionTimeoutError GatewayExecutor GradioUI InterpreterError MLXModel
MODEL_REGISTRY ModalExecutor PipelineTool RateLimiter RemotePythonExecutor SafeSerializer SerializationError
SpeechToTextTool TOOL_MAPPING TransformersModel TypeHintParsingException VLLMModel WasmExecutor encode_image_base64
evaluate_python_code get_imports get_json_schema handle_agent_input_types launch_gradio_demo load_model load_tool
make_image_url make_json_serializable parse_code_blobs save_screenshot stream_to_gradio truncate_content
"""

__all__ = list(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


if not TYPE_CHECKING:  # for a type checker there are the names above, and no others

    def __getattr__(name: str) -> Any:
        """The public name `name`, from the module where it lives.

        Raises AttributeError; ImportError, which says so, for what smolagents has and this library has not: with
        another error `from smol_kernel import …` would not tell.
        """
        if name in _PUBLIC:
            value = globals()[name] = getattr(import_module(_PUBLIC[name]), name)
            return value
        if name in _NOT_BUILT.split():
            guide = "see 'Migrating from smolagents' in the documentation"
            raise ImportError(f"{name!r} of smolagents is not in {__name__} {__version__}; {guide}", name=name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
