"""Agents that act by writing code, in the Jupyter notebook. The public names, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smol_kernel.agents.code_agent import CodeAgent as CodeAgent
    from smol_kernel.agents.multi_step import MultiStepAgent as MultiStepAgent
    from smol_kernel.agents.prompts import PromptTemplates as PromptTemplates
    from smol_kernel.agents.prompts import populate_template as populate_template
    from smol_kernel.agents.results import RunResult as RunResult
    from smol_kernel.errors import AgentError as AgentError
    from smol_kernel.errors import AgentExecutionError as AgentExecutionError
    from smol_kernel.errors import AgentGenerationError as AgentGenerationError
    from smol_kernel.errors import AgentMaxStepsError as AgentMaxStepsError
    from smol_kernel.errors import AgentParsingError as AgentParsingError
    from smol_kernel.errors import AgentToolCallError as AgentToolCallError
    from smol_kernel.errors import AgentToolExecutionError as AgentToolExecutionError
    from smol_kernel.errors import SmolError as SmolError
    from smol_kernel.executors.base import CodeOutput as CodeOutput
    from smol_kernel.executors.base import PythonExecutor as PythonExecutor
    from smol_kernel.executors.kernel import KernelExecutor as KernelExecutor
    from smol_kernel.executors.kernel import LocalPythonExecutor as LocalPythonExecutor
    from smol_kernel.executors.values import RemoteValue as RemoteValue
    from smol_kernel.journal import Journal as Journal
    from smol_kernel.memory.messages import ChatMessage as ChatMessage
    from smol_kernel.memory.messages import ChatMessageStreamDelta as ChatMessageStreamDelta
    from smol_kernel.memory.messages import ChatMessageToolCall as ChatMessageToolCall
    from smol_kernel.memory.messages import ChatMessageToolCallFunction as ChatMessageToolCallFunction
    from smol_kernel.memory.messages import ChatMessageToolCallStreamDelta as ChatMessageToolCallStreamDelta
    from smol_kernel.memory.messages import MessageRole as MessageRole
    from smol_kernel.memory.messages import agglomerate_stream_deltas as agglomerate_stream_deltas
    from smol_kernel.memory.monitoring import LogLevel as LogLevel
    from smol_kernel.memory.steps import ActionStep as ActionStep
    from smol_kernel.memory.steps import AgentMemory as AgentMemory
    from smol_kernel.memory.steps import FinalAnswerStep as FinalAnswerStep
    from smol_kernel.memory.steps import MemoryStep as MemoryStep
    from smol_kernel.memory.steps import PlanningStep as PlanningStep
    from smol_kernel.memory.steps import SystemPromptStep as SystemPromptStep
    from smol_kernel.memory.steps import TaskStep as TaskStep
    from smol_kernel.memory.steps import ToolCall as ToolCall
    from smol_kernel.memory.usage import Timing as Timing
    from smol_kernel.memory.usage import TokenUsage as TokenUsage
    from smol_kernel.models.base import Model as Model
    from smol_kernel.models.litellm import LiteLLMModel as LiteLLMModel
    from smol_kernel.models.scripted import ScriptedModel as ScriptedModel
    from smol_kernel.tools.base import Tool as Tool
    from smol_kernel.tools.base import tool as tool
    from smol_kernel.tools.base import validate_tool_arguments as validate_tool_arguments
    from smol_kernel.tools.defaults.final_answer import FinalAnswerTool as FinalAnswerTool
    from smol_kernel.tools.defaults.user_input import UserInputTool as UserInputTool
    from smol_kernel.tools.schema import AUTHORIZED_TYPES as AUTHORIZED_TYPES

__version__ = "0.1.0"

_HOMES = {
    "agents.code_agent": "CodeAgent",
    "agents.multi_step": "MultiStepAgent",
    "agents.prompts": "PromptTemplates populate_template",
    "agents.results": "RunResult",
    "errors": "AgentError AgentExecutionError AgentGenerationError AgentMaxStepsError AgentParsingError "
    "AgentToolCallError AgentToolExecutionError SmolError",
    "executors.base": "CodeOutput PythonExecutor",
    "executors.kernel": "KernelExecutor LocalPythonExecutor",
    "executors.values": "RemoteValue",
    "journal": "Journal",
    "memory.messages": "ChatMessage ChatMessageStreamDelta ChatMessageToolCall ChatMessageToolCallFunction "
    "ChatMessageToolCallStreamDelta MessageRole agglomerate_stream_deltas",
    "memory.monitoring": "LogLevel",
    "memory.steps": "ActionStep AgentMemory FinalAnswerStep MemoryStep PlanningStep SystemPromptStep TaskStep ToolCall",
    "memory.usage": "Timing TokenUsage",
    "models.base": "Model",
    "models.litellm": "LiteLLMModel",
    "models.scripted": "ScriptedModel",
    "tools.base": "Tool tool validate_tool_arguments",
    "tools.defaults.final_answer": "FinalAnswerTool",
    "tools.defaults.user_input": "UserInputTool",
    "tools.schema": "AUTHORIZED_TYPES",
}
_PUBLIC = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names.split()}

_NOT_BUILT_YET = """
ActionOutput AgentAudio AgentImage AgentLogger AgentText AgentType AmazonBedrockModel AmazonBedrockServerModel
ApiModel ApiWebSearchTool AzureOpenAIModel AzureOpenAIServerModel BlaxelExecutor Budget CallbackRegistry
DockerExecutor DuckDuckGoSearchTool E2BExecutor EMPTY_PROMPT_TEMPLATES GatewayExecutor GoogleSearchTool GradioUI
HfApiModel InferenceClientModel LiteLLMRouterModel MCPClient MLXModel ModalExecutor Monitor OpenAIModel
OpenAIServerModel PythonInterpreterTool REMOVE_PARAMETER SpeechToTextTool ToolCallingAgent ToolCollection
ToolOutput TransformersModel VLLMModel VisitWebpageTool WasmExecutor WebSearchTool WikipediaSearchTool
get_clean_message_list get_tool_call_from_text get_tool_json_schema handle_agent_output_types load_tool
parse_json_if_needed remove_content_after_stop_sequences stream_to_gradio supports_stop_parameter
"""

__all__ = list(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """The public name `name`, from the module where it lives.

    Raises AttributeError, which says so where the name is planned and its part is not built yet.
    """
    if name in _PUBLIC:
        value = globals()[name] = getattr(import_module(_PUBLIC[name]), name)
        return value
    if name in _NOT_BUILT_YET.split():
        raise AttributeError(f"{name!r} is not built yet in {__name__} {__version__}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
