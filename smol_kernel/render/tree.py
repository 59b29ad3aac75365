"""An agent as a tree of text: its model, its tools, the agents it may call. Printed by `visualize()`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smol_kernel.render.plain import one_line


def agent_tree(agent: Any) -> str:
    """The tree of `agent`: one line each for the agent, its tools and, indented below theirs, those of its agents."""
    return "\n".join([_head(agent), *_branches(agent, {id(agent)})])


def _head(agent: Any) -> str:
    model = getattr(agent, "model", None)
    model_name = getattr(model, "model_id", None) or (type(model).__name__ if model is not None else "")
    name = getattr(agent, "name", None)
    kind = type(agent).__name__
    head = " · ".join(filter(None, [f"{name}: {kind}" if name else kind, model_name]))
    return _with_words(head, getattr(agent, "description", None))


def _branches(agent: Any, above: set[int]) -> Iterator[str]:
    """The lines below an agent. One that calls itself, however far down, is named only."""
    called = [("", other) for other in _values(getattr(agent, "managed_agents", None))]
    called += [("hands over to ", other) for other in _values(getattr(agent, "handoffs", None))]
    names = {getattr(other, "name", None) for _, other in called}
    tools = [tool for tool in _values(getattr(agent, "tools", None)) if getattr(tool, "name", None) not in names]
    branches: list[tuple[str, list[str]]] = [(_tool(tool), []) for tool in tools]
    for how, other in called:
        again = id(other) in above
        below = [] if again else list(_branches(other, above | {id(other)}))
        branches.append((how + _head(other) + (" (as above)" if again else ""), below))
    for place, (head, below) in enumerate(branches, 1):
        last = place == len(branches)
        yield ("└─ " if last else "├─ ") + head
        yield from (("   " if last else "│  ") + line for line in below)


def _tool(tool: Any) -> str:
    head = getattr(tool, "signature", None) or str(getattr(tool, "name", tool))
    return _with_words(head, getattr(tool, "description", None))


def _with_words(head: str, words: Any) -> str:
    """`head`, and the first sentence of what is said about it."""
    sentence = one_line(str(words or "").strip().split("\n")[0], 100)
    return one_line(f"{head} — {sentence}" if sentence else head, 240)


def _values(things: Any) -> list[Any]:
    return list(things.values()) if isinstance(things, dict) else list(things or ())
