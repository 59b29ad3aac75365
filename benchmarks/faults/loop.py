"""Faults of the loop: values handed over, streams, prompts, sub-agents, counts, stopping.

Each function returns whether the fault shows (`fault`) and what was seen (`seen`).
"""

# ruff: noqa: RUF012  (tool classes as the documentation writes them)
from __future__ import annotations

import contextlib
import inspect
import threading
import time
from typing import Any

from scripted import call, code, prepared, quiet, raised, streaming, text_of


def tool_with_a_key(lib: Any) -> Any:
    """tools with constructor arguments or keys lose them in a remote sandbox, or leak them in source"""

    class Asker(lib.Tool):
        name = "ask"
        description = "Asks a service."
        inputs = {}
        output_type = "string"

        def __init__(self, key="sk-default"):
            super().__init__()
            self.key = key

        def forward(self):
            return f"asked with {self.key}"

    tool = Asker(key="sk-given")
    if lib.__name__ == "smolagents":  # the source that its remote executors send, run in a namespace of its own
        from smolagents.tools import get_tools_definition_code

        sent: dict[str, Any] = {}
        source = get_tools_definition_code({tool.name: tool})
        exec(source, sent)
        found, leaked = sent["ask"](), "sk-default" in source
    else:
        text = "seen = [str(vars(x)) for x in [ask] if hasattr(x, '__dict__')]\nfinal_answer([ask(), str(seen)])"
        found, seen = lib.CodeAgent(tools=[tool], model=prepared(lib, code(text)), **quiet(lib)).run("Go.")
        leaked = "sk-" in seen
    said = "; a key is in the source that was sent" if leaked else ""
    return {"fault": found != "asked with sk-given" or leaked, "seen": f"in the sandbox: {found}{said}"}


def closures_and_managed_agents(lib: Any) -> Any:
    """managed agents and closures are refused by executors in another process"""
    greeting = "Hello"

    @lib.tool
    def greet(name: str) -> str:
        """Greets.

        Args:
            name: Whom.
        """
        return f"{greeting} {name}"

    refused = []
    if lib.__name__ == "smolagents":
        worker = lib.CodeAgent(tools=[], model=prepared(lib), name="worker", description="Works.", **quiet(lib))
        try:  # refused before it looks for Docker
            lib.CodeAgent(tools=[], model=prepared(lib), managed_agents=[worker], executor_type="docker", **quiet(lib))
        except Exception as error:  # noqa: BLE001  what it says is the result
            refused.append(f"managed agent: {error}")
        from smolagents.tools import get_tools_definition_code

        try:
            get_tools_definition_code({"greet": greet})
        except Exception as error:  # noqa: BLE001  what it says is the result
            refused.append(f"closure: {error}")
        return {"fault": bool(refused), "seen": "; ".join(" ".join(each.split())[:90] for each in refused)}
    worker_model = prepared(lib, code("final_answer('worked')"))
    worker = lib.CodeAgent(tools=[], model=worker_model, name="worker", description="Works.", **quiet(lib))
    model = prepared(lib, code("final_answer([greet('Ada'), 'worked' in worker('Go.')])"))
    answer = lib.CodeAgent(tools=[greet], model=model, managed_agents=[worker], **quiet(lib)).run("Go.")
    return {"fault": answer != ["Hello Ada", True], "seen": f"from the child process: {answer}"}


def data_frame(lib: Any) -> Any:
    """a DataFrame cannot be sent to a sandbox"""
    import pandas

    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    if lib.__name__ == "smolagents":
        from smolagents.serialization import SafeSerializer

        try:
            SafeSerializer.dumps({"frame": frame}, allow_pickle=False)
        except Exception as error:  # noqa: BLE001  what it says is the result
            return {"fault": True, "seen": f"{type(error).__name__}: {error}"[:120]}
        return {"fault": False, "seen": "sent"}
    model = prepared(lib, code("final_answer(int(frame['a'].sum()))"))
    answer = lib.CodeAgent(tools=[], model=model, **quiet(lib)).run("Add.", additional_args={"frame": frame})
    return {"fault": answer != 3, "seen": f"frame['a'].sum() in the child process: {answer}"}


def close_a_stream(lib: Any) -> Any:
    """`close()` on a stream raises RuntimeError"""
    model = prepared(lib, *[code("1")] * 3)
    events = lib.CodeAgent(tools=[], model=model, **quiet(lib)).run("Go.", stream=True)
    next(events)
    try:
        events.close()
    except RuntimeError as error:
        return {"fault": True, "seen": f"RuntimeError: {error}"}
    return {"fault": False, "seen": f"closed; {len(model.requests)} request to the model"}


def last_step_twice(lib: Any) -> Any:
    """the stream of a run that reaches max steps yields a step twice"""
    agent = lib.CodeAgent(tools=[], model=prepared(lib, code("1"), "gave up"), max_steps=1, **quiet(lib))
    steps = [event for event in agent.run("Go.", stream=True) if isinstance(event, lib.ActionStep)]
    numbers = [step.step_number for step in steps]
    return {"fault": len({id(step) for step in steps}) < len(steps), "seen": f"steps in the stream: {numbers}"}


def remaining_steps(lib: Any) -> Any:
    """`{remaining_steps}` reaches the model unformatted"""
    model = prepared(lib, "a plan", code("1"), "another plan", code("final_answer(1)"))
    lib.CodeAgent(tools=[], model=model, planning_interval=1, max_steps=4, **quiet(lib)).run("Go.")
    asked = "\n".join(text_of(message) for message in model.requests[2])
    at = asked.find("remaining_steps")
    return {"fault": at >= 0, "seen": asked[max(0, at - 30) : at + 30] if at >= 0 else "formatted"}


def arguments_in_the_prompt(lib: Any) -> Any:
    """`additional_args` are dumped whole into the prompt"""
    model = prepared(lib, code("final_answer(1)"))
    lib.CodeAgent(tools=[], model=model, **quiet(lib)).run("Go.", additional_args={"numbers": list(range(3000))})
    length = len(text_of(model.requests[0][-1]))
    return {"fault": length > 3000, "seen": f"the task of the request has {length:,} characters for 3,000 numbers"}


def parallel_calls_of_one_agent(lib: Any) -> Any:
    """the same managed agent called in parallel shares state"""
    both = threading.Barrier(2)

    def reply(messages: list) -> str:
        tasks = [text for text in map(text_of, messages) if "number" in text]
        wanted = [digit for digit in "12" if f"number {digit}" in "\n".join(tasks)]
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=3)
        return code(f"final_answer('got {' and '.join(wanted)}')")

    worker = lib.CodeAgent(
        tools=[], model=prepared(lib, *[reply] * 4), name="worker", description="Works.", **quiet(lib)
    )
    model = prepared(
        lib,
        [call("worker", task="The number 1, please."), call("worker", task="The number 2, please.")],
        call("final_answer", answer="done"),
    )
    manager = lib.ToolCallingAgent(tools=[], model=model, managed_agents=[worker], **quiet(lib))
    manager.run("Go.")
    observed = next(step for step in manager.memory.steps if isinstance(step, lib.ActionStep)).observations or ""
    said = [part for part in ("got 1 and 2", "got 1", "got 2") if part in observed]
    fine = "got 1 and 2" not in said and {"got 1", "got 2"} <= set(said)
    return {"fault": not fine, "seen": f"the two reports say: {', '.join(said) or observed[:80]}"}


def streamed_token_counts(lib: Any) -> Any:
    """token counts are mis-summed when streaming"""
    pieces = [
        lib.ChatMessageStreamDelta(content="a", token_usage=lib.TokenUsage(input_tokens=100, output_tokens=1)),
        lib.ChatMessageStreamDelta(content="b", token_usage=lib.TokenUsage(input_tokens=100, output_tokens=2)),
    ]

    class Counting(type(streaming(lib))):
        def generate_stream(self, messages, *args, **kwargs):
            yield from pieces
            yield lib.ChatMessageStreamDelta(
                content=code("final_answer(1)"), token_usage=lib.TokenUsage(input_tokens=100, output_tokens=3)
            )

    agent = lib.CodeAgent(tools=[], model=Counting([]), stream_outputs=True, **quiet(lib))
    usage = agent.run("Go.", return_full_result=True).token_usage
    seen = f"{usage.input_tokens} input tokens for a request of 100 that reports them in each piece"
    return {"fault": usage.input_tokens != 100, "seen": seen}


def cached_tokens(lib: Any) -> Any:
    """cached tokens are not counted"""
    names = [name for name in vars(lib.TokenUsage(input_tokens=10, output_tokens=1)) if "cache" in name]
    return {"fault": not names, "seen": f"fields of TokenUsage for cached tokens: {', '.join(names) or 'none'}"}


def interrupt_within_a_step(lib: Any) -> Any:
    """an interrupt works only between steps"""
    agent = lib.CodeAgent(
        tools=[],
        model=prepared(lib, code("1"), code("import time\ntime.sleep(4)"), code("final_answer(1)")),
        additional_authorized_imports=["time"],
        **quiet(lib),
    )
    started = []

    def stop() -> None:
        started.append(time.monotonic())
        agent.interrupt()

    def run() -> None:
        for event in agent.run("Go.", stream=True):
            if isinstance(event, lib.ToolCall) and "sleep" in str(event.arguments):
                threading.Timer(1, stop).start()

    raised(lib, run)
    took = time.monotonic() - started[0]
    return {"fault": took > 2, "seen": f"stopped {took:.1f} s after interrupt(), during a sleep of 4 s"}


def asynchronous_use_and_limits(lib: Any) -> Any:
    """sync only, no cost limit"""
    lacking = [name for name in ("arun", "astream") if not hasattr(lib.CodeAgent, name)]
    lacking += [name for name in ("Budget",) if not hasattr(lib, name)]
    lacking += [] if "budget" in inspect.signature(lib.MultiStepAgent).parameters else ["budget="]
    return {"fault": bool(lacking), "seen": f"absent: {', '.join(lacking)}" if lacking else "arun, astream, Budget"}
