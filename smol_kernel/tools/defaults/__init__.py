"""The tools that come with the package, save the Python interpreter, which needs a child (`executors`)."""

from smol_kernel.tools.base import Tool
from smol_kernel.tools.defaults.api_search import ApiWebSearchTool, GoogleSearchTool
from smol_kernel.tools.defaults.duckduckgo_search import DuckDuckGoSearchTool
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool
from smol_kernel.tools.defaults.user_input import UserInputTool
from smol_kernel.tools.defaults.visit_webpage import VisitWebpageTool
from smol_kernel.tools.defaults.web_search import WebSearchTool
from smol_kernel.tools.defaults.wikipedia_search import WikipediaSearchTool

__all__ = [
    "ApiWebSearchTool",
    "DuckDuckGoSearchTool",
    "FinalAnswerTool",
    "GoogleSearchTool",
    "UserInputTool",
    "VisitWebpageTool",
    "WebSearchTool",
    "WikipediaSearchTool",
    "base_tools",
]


def base_tools() -> dict[str, Tool]:
    """What `add_base_tools=True` gives every agent, by name: `web_search` and `visit_webpage`, freshly built.

    An agent that does not write code itself gets a PythonInterpreterTool besides. Raises MissingDependencyError
    without the extra `[tools]`.
    """
    return {tool.name: tool for tool in (DuckDuckGoSearchTool(), VisitWebpageTool())}
