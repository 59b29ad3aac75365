"""Replies that are of no use, some of them paid for all the same: why, as an error. Called by `api.py`."""

from __future__ import annotations

from typing import Any, NoReturn

from smol_kernel.errors import ModelError
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.call import charge_refused
from smol_kernel.models.failures import Target, no_completion
from smol_kernel.models.replies import without_reasoning


class StoppedThinking(ModelError):
    """A stop sequence that was sent ended a reply in which the model only thought so far."""


class NothingCame(ModelError):
    """A request brought nothing that is a reply, and no words that say why; `may_be` of CAN_GO may be the reason."""

    def __init__(self, message: str, may_be: str) -> None:
        super().__init__(message)
        self.may_be = may_be


def no_stream(target: Target, stream: Any) -> ModelError:
    """Where nothing of a reply was in `stream`."""
    may_be_whole = getattr(stream, "may_be_whole", False)
    return NothingCame(no_completion(target), "stream") if may_be_whole else ModelError(no_completion(target))


def require_reply(given: Any, model_id: str | None) -> None:
    """Raises NothingCame for None: so LiteLLM keeps back what servers say of the order of roles."""
    if given is None:
        why = "LiteLLM gives none where a server says 'Conversation roles must alternate' or the like"
        raise NothingCame(f"model {model_id!r} sent no reply: {why}; try another model", "system")


def require_not_stopped(
    request: dict[str, Any], finished: str | None, said: str, thought: bool, counted: TokenUsage | None
) -> None:
    """Raises StoppedThinking for a reply that ended so, of what was `said` and `thought` beside it, where a stop
    sequence that is meant for what is said may have ended it."""
    only_thought = thought if not said.strip() else not without_reasoning(said).strip()
    if "stop" in request and finished == "stop" and only_thought:
        if counted:
            charge_refused(counted)
        raise StoppedThinking(f"model {request.get('model')!r} was stopped while it was still thinking")


def thought_in(message: Any) -> bool:
    """Whether there is reasoning beside the text of a message, or of a piece of one."""
    return bool(getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None))


def refuse_silence(model_id: str | None, finished: str | None, refusal: str | None, counted: TokenUsage | None) -> None:
    """Raises ModelError where an empty reply tells why it is empty: the model has nothing to mend then."""
    if finished == "length":
        refuse(model_id, "used up its output tokens before it said anything; raise max_tokens", counted)
    if refusal or finished == "content_filter":
        why = refusal or "the provider's content filter held the reply back"
        refuse(model_id, f"refused to answer: {why:.500}. Change the task, or try another model", counted)


def refuse(model_id: str | None, why: str, counted: TokenUsage | None) -> NoReturn:
    """Raises ModelError for a reply that is paid for all the same."""
    if counted:
        charge_refused(counted)
    raise ModelError(f"model {model_id!r} {why}")
