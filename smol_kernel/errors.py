"""Every exception this package raises on purpose.

The tree (a standard type in brackets where one fits as well)::

    SmolError
    ├── AgentError                     what a step can meet; recorded on the step
    │   ├── AgentParsingError          the reply holds no usable action: becomes the next observation
    │   ├── AgentExecutionError        the action failed: becomes the next observation
    │   │   ├── AgentToolCallError     a tool was called with wrong arguments
    │   │   └── AgentToolExecutionError  a tool raised
    │   ├── AgentMaxStepsError         the step limit was reached
    │   ├── AgentBudgetError           the budget is used up
    │   └── AgentGenerationError       the model gave no reply: ends the run
    ├── ConfigError [ValueError]       a setting is missing or wrong
    ├── ModelError [RuntimeError]      a model cannot be built or reached
    │   ├── ContextLengthError         the conversation is longer than the model can read
    │   └── CassetteMissError          a cassette holds no reply to a request
    ├── ToolError [ValueError]         a tool is defined or called wrongly
    │   └── ToolTypeError [TypeError]  a value is of the wrong type
    ├── MCPServerError [RuntimeError]  an MCP server cannot be reached, or answers with an error
    │   └── MCPTimeoutError [TimeoutError]  it did not answer in time
    ├── ExecutorError [RuntimeError]   the child kernel cannot be started or reached
    │   ├── ChildDiedError             the child kernel ended by itself
    │   └── BoxUnavailableError        this machine gives no boundary: refused, with the remedy
    ├── NotPortableError [TypeError]   a value cannot cross between host and child
    ├── JournalError [RuntimeError]    the journal cannot be read or written
    │   ├── RunNotFoundError [KeyError]
    │   └── RunTakenOverError          the run goes on in another process
    ├── EventError [ValueError]        a stored event cannot be read
    ├── ReplayError [RuntimeError]     a recorded run cannot be taken up
    │   └── ReplayDiffersError         what is run again does not give the same
    └── MissingDependencyError [ImportError]  an optional package is needed
"""

from __future__ import annotations

import sys
from typing import Any


class SmolError(Exception):
    """Root of every error of this package."""


class AgentError(SmolError):
    """What went wrong within a step.

    Parameters: `message`, shown to the model and to people; `logger`, an object with
    `log_error(message)` that is told at once (None: nobody).
    """

    def __init__(self, message: str, logger: Any = None) -> None:
        super().__init__(message)
        self.message = message
        if logger is not None:
            logger.log_error(message)

    def dict(self) -> dict[str, str]:
        """The error as plain data: `type` and `message`."""
        return {"type": type(self).__name__, "message": str(self.message)}


def forget_frames(error: BaseException) -> None:
    """Let go of all that was going on when the error came about: it is only kept to be read."""
    error.__traceback__ = error.__context__ = None


class AgentParsingError(AgentError):
    """The model's reply holds no usable action."""


class AgentExecutionError(AgentError):
    """The action raised, was stopped, or lost its child."""


class AgentToolCallError(AgentExecutionError):
    """A tool was called with arguments that its schema refuses."""


class AgentToolExecutionError(AgentExecutionError):
    """A tool raised while it ran."""


class AgentMaxStepsError(AgentError):
    """The run reached its step limit without a final answer."""


class AgentBudgetError(AgentError):
    """The run used up its budget; it ends with the best answer so far."""


NO_REPLY = "The model gave no reply: "
"""With what the message of an AgentGenerationError begins, before the reason."""


IN_CIRCLES = "The run was ended: it did the same again and again."
"""With what the error of a run begins that was ended before its limit, for it repeated itself."""


class AgentGenerationError(AgentError):
    """The model gave no reply; the run ends, its journal intact."""


class ConfigError(SmolError, ValueError):
    """A setting is missing or wrong; the message says what to set."""


class ModelError(SmolError, RuntimeError):
    """A model cannot be built or reached."""


class ContextLengthError(ModelError):
    """The conversation is longer than the model can read."""


class CassetteMissError(ModelError):
    """A cassette holds no reply to a request; the message shows what differs from the nearest one that it holds."""


class ToolError(SmolError, ValueError):
    """A tool is defined or called wrongly; the message names the place."""


class ToolTypeError(ToolError, TypeError):
    """A tool is defined or called with a value of the wrong type."""


class MCPServerError(SmolError, RuntimeError):
    """An MCP server cannot be started or reached, or answers with an error; the message names the server."""


class MCPTimeoutError(MCPServerError, TimeoutError):
    """An MCP server did not answer in time."""


class ExecutorError(SmolError, RuntimeError):
    """The child kernel cannot be started or reached."""


class ChildDiedError(ExecutorError):
    """The child kernel ended by itself."""


NO_BOX = "no box"
"""With what the message of a BoxUnavailableError begins."""


class BoxUnavailableError(ExecutorError):
    """No boundary for the child kernel can be had here; the message says why, what helps, and how to do without."""


class NotPortableError(SmolError, TypeError):
    """A value cannot cross between host and child."""


class JournalError(SmolError, RuntimeError):
    """The journal cannot be read or written."""


class RunNotFoundError(JournalError, KeyError):
    """No run of that id is in the journal."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would show the repr


class RunTakenOverError(JournalError):
    """The run that this process works on was taken over by another one, in which it goes on."""


class EventError(SmolError, ValueError):
    """A stored event cannot be read."""


class ReplayError(SmolError, RuntimeError):
    """A recorded run cannot be taken up again, or not in this way; the message says why, and what can be done."""


class ReplayDiffersError(ReplayError):
    """Recorded actions that were run again did not do the same; `differences` are sentences on what was not."""

    def __init__(self, message: str, differences: list[str]) -> None:
        super().__init__(message)
        self.differences = differences


class MissingDependencyError(SmolError, ImportError):
    """An optional package is needed; the message names the extra to install."""


def no_name_here(package: str, name: str) -> Any:
    """What a package inside this one does when it is asked for `name`, which it has not: raise AttributeError, or for a
    public name an ImportError that says where it is; with another error `from … import …` would not tell."""
    top = package.partition(".")[0]
    if name in getattr(sys.modules[top], "__all__", ()):
        raise ImportError(f"{name!r} is not in {package}: take it from {top} itself", name=name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
