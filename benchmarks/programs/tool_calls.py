"""Programs with a ToolCallingAgent: one call, several at once, text in place of calls, wrong calls, state."""

# ruff: noqa: RUF012  (tool classes as the documentation writes them)
from __future__ import annotations

import json
import threading
from typing import Any

from scripted import actions, call, code, images_in, kinds, prepared, quiet, raised, text_of


def _weather(lib: Any) -> Any:
    @lib.tool
    def get_weather(location: str, celsius: bool = False) -> str:
        """Tells the weather.

        Args:
            location: Where.
            celsius: Whether in degrees Celsius.
        """
        return f"{location}: {'20 C' if celsius else '68 F'}"

    return get_weather


def tool_calling(lib: Any) -> Any:
    """A call, its observation, and the final answer as a call."""
    model = prepared(lib, call("get_weather", location="Paris", celsius=True), call("final_answer", answer="20 C"))
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, **quiet(lib))
    answer = agent.run("Weather in Paris?")
    first = actions(lib, agent.memory)[0]
    return {
        "answer": answer,
        "tools offered": sorted(model.options[0]["tools"]),
        "call": first.tool_calls[0].dict()["function"],
        "observation": first.observations,
        "read by the model": "Paris: 20 C" in text_of(model.requests[1][-1]),
        "output": first.action_output,
        "steps": kinds(agent.memory),
    }


def tool_calling_stream(lib: Any) -> Any:
    """The same as a stream: calls, their outputs, steps, the answer."""
    model = prepared(lib, call("get_weather", location="Rome"), call("final_answer", answer="68 F"))
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, **quiet(lib))
    events = list(agent.run("Weather?", stream=True))
    outputs = [event for event in events if type(event).__name__ == "ToolOutput"]
    return {
        "types": [type(event).__name__ for event in events],
        "outputs": [[each.output, each.is_final_answer, each.tool_call.name] for each in outputs],
        "observation": outputs[0].observation,
    }


def parallel_calls(lib: Any) -> Any:
    """Several calls of one step run at the same time: each waits for the other."""
    barrier = threading.Barrier(2, timeout=20)

    @lib.tool
    def meet(name: str) -> str:
        """Waits for the other one.

        Args:
            name: Who waits.
        """
        barrier.wait()
        return f"{name} met"

    model = prepared(lib, [call("meet", name="a"), call("meet", name="b")], call("final_answer", answer="both"))
    agent = lib.ToolCallingAgent(tools=[meet], model=model, max_tool_threads=2, **quiet(lib))
    answer = agent.run("Meet.")
    first = actions(lib, agent.memory)[0]
    return {
        "answer": answer,
        "calls": sorted(each.arguments["name"] for each in first.tool_calls),
        "observations": sorted(line for line in first.observations.splitlines() if line),
        "error": first.error is None,
    }


def answer_beside_another_call(lib: Any) -> Any:
    """A final answer together with other calls in one step is not accepted; the model is told."""
    model = prepared(
        lib,
        [call("get_weather", location="Oslo"), call("final_answer", answer="early")],
        call("final_answer", answer="late"),
    )
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, **quiet(lib))
    answer = agent.run("Weather?")
    return {"answer": answer, "error": actions(lib, agent.memory)[0].error is not None}


def wrong_calls(lib: Any) -> Any:
    """Unknown tools, missing and wrong arguments, a tool that raises: each an error that the model reads."""

    @lib.tool
    def half(number: int) -> float:
        """Halves.

        Args:
            number: A number.
        """
        if number == 13:
            raise ValueError("not that one")
        return number / 2

    model = prepared(
        lib,
        call("no_such_tool", x=1),
        call("half"),
        call("half", number="ten"),
        call("half", number=4, more=1),
        call("half", number=13),
        call("half", number=4),
        call("final_answer", answer="done"),
    )
    agent = lib.ToolCallingAgent(tools=[half], model=model, **quiet(lib))
    answer = agent.run("Halve.")
    steps = actions(lib, agent.memory)
    return {
        "answer": answer,
        "errors": [type(step.error).__name__ for step in steps],
        "named": ["no_such_tool" in steps[0].error.message, "not that one" in steps[4].error.message],
        "output": steps[5].observations,
    }


def calls_written_as_text(lib: Any) -> Any:
    """A model without structured calls writes JSON; the text around it is ignored."""
    as_text = "Action:\n" + json.dumps({"name": "get_weather", "arguments": {"location": "Bonn"}})
    model = prepared(lib, as_text, json.dumps({"name": "final_answer", "arguments": {"answer": "fine"}}))
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, **quiet(lib))
    return [agent.run("Weather?"), actions(lib, agent.memory)[0].observations]


def text_without_a_call(lib: Any) -> Any:
    """Text without a call is a parsing error, and the model does better."""
    model = prepared(lib, "It is fine.", call("final_answer", answer="fine"))
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, **quiet(lib))
    answer = agent.run("Weather?")
    return [answer, type(actions(lib, agent.memory)[0].error).__name__]


def arguments_from_the_state(lib: Any) -> Any:
    """An argument that is the name of a variable of the state stands for its value."""

    @lib.tool
    def count(words: list) -> int:
        """Counts.

        Args:
            words: What to count.
        """
        return len(words)

    model = prepared(lib, call("count", words="given"), call("final_answer", answer="given"))
    agent = lib.ToolCallingAgent(tools=[count], model=model, **quiet(lib))
    answer = agent.run("Count.", additional_args={"given": ["a", "b", "c"]})
    return [answer, actions(lib, agent.memory)[0].observations]


def image_from_a_tool(lib: Any) -> Any:
    """An image that a tool returns is kept in the state, its name told to the model, and can be the answer."""
    from PIL import Image

    class Draw(lib.Tool):
        name = "draw"
        description = "Draws."
        inputs = {"side": {"type": "integer", "description": "Pixels."}}
        output_type = "image"

        def forward(self, side):
            return Image.new("RGB", (side, side))

    model = prepared(lib, call("draw", side=6), call("final_answer", answer="image.png"))
    agent = lib.ToolCallingAgent(tools=[Draw()], model=model, **quiet(lib))
    answer = agent.run("Draw.")
    return {
        "named": "image.png" in actions(lib, agent.memory)[0].observations,
        "type": type(answer).__name__,
        "size": list(answer.to_raw().size) if hasattr(answer, "to_raw") else None,
    }


def arguments_as_json_text(lib: Any) -> Any:
    """Providers give arguments as JSON text; they reach the tool as values."""
    model = prepared(
        lib,
        {"name": "get_weather", "arguments": '{"location": "Riga", "celsius": true}'},
        {"name": "final_answer", "arguments": '{"answer": "done"}'},
    )
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, **quiet(lib))
    return [agent.run("Weather?"), actions(lib, agent.memory)[0].observations]


def tool_called_directly(lib: Any) -> Any:
    """Tools are callables: positionally, by keyword, by one dictionary of all arguments."""
    weather = _weather(lib)
    return [
        weather("Kiev"),
        weather(location="Kiev", celsius=True),
        weather({"location": "Kiev", "celsius": True}),
        raised(lib, lambda: weather()),
    ]


def step_limit_of_tool_calls(lib: Any) -> Any:
    """At max steps a ToolCallingAgent gives the model's last words too."""
    model = prepared(lib, call("get_weather", location="Oslo"), "It may be mild.")
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, max_steps=1, **quiet(lib))
    return [agent.run("Weather?"), type(actions(lib, agent.memory)[-1].error).__name__]


def base_tools(lib: Any) -> Any:
    """`add_base_tools=True`: search and page tools for both agents, the interpreter only for tool calls."""
    found = []
    for kind in (lib.CodeAgent, lib.ToolCallingAgent):
        agent = kind(tools=[], model=prepared(lib, code("1")), add_base_tools=True, **quiet(lib))
        found.append(sorted(agent.tools))
    return found


def tool_calls_with_plans_and_images(lib: Any) -> Any:
    """Planning, images and instructions are for a ToolCallingAgent too."""
    from PIL import Image

    model = prepared(lib, "look, then tell", call("get_weather", location="Bern"), call("final_answer", answer="seen"))
    agent = lib.ToolCallingAgent(tools=[_weather(lib)], model=model, planning_interval=4, **quiet(lib))
    answer = agent.run("Look.", images=[Image.new("RGB", (2, 2))])
    return {"answer": answer, "steps": kinds(agent.memory), "images": images_in(model.requests[1])}
