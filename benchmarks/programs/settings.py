"""Programs that change how an agent is set up: prompts, imports, executors, tags, saving, memory read back."""

# ruff: noqa: RUF012  (tool classes as the documentation writes them)
from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from scripted import actions, code, kinds, prepared, public, quiet, raised, streaming, text_of


def instructions(lib: Any) -> Any:
    """Instructions are part of the system prompt of both kinds of agent."""
    found = []
    for kind in (lib.CodeAgent, lib.ToolCallingAgent):
        agent = kind(tools=[], model=prepared(lib), instructions="Always answer in Esperanto.", **quiet(lib))
        found.append("Always answer in Esperanto." in agent.system_prompt)
    return found


def prompt_templates(lib: Any) -> Any:
    """A template of the user's is rendered with the documented variables; incomplete ones are refused."""
    templates = json.loads(json.dumps(lib.EMPTY_PROMPT_TEMPLATES))
    templates["system_prompt"] = (
        "Tools:{% for tool in tools.values() %} {{ tool.name }}{% endfor %}."
        " Tags: {{code_block_opening_tag}} {{code_block_closing_tag}}. Imports: {{authorized_imports}}."
        " {{custom_instructions}}"
    )
    templates["final_answer"] = {"pre_messages": "Sum up.", "post_messages": "The task was {{task}}."}

    @lib.tool
    def add(a: int, b: int) -> int:
        """Adds.

        Args:
            a: One.
            b: Two.
        """
        return a + b

    model = prepared(lib, code("x = add(1, 2)"), "three")
    agent = lib.CodeAgent(
        tools=[add], model=model, prompt_templates=templates, instructions="Be brief.", max_steps=1, **quiet(lib)
    )
    answer = agent.run("Add them.")
    prompt = text_of(model.requests[0][0])
    incomplete = {"system_prompt": "x"}
    return {
        "answer": answer,
        "tools": "add" in prompt,
        "tags": "Tags: <code> </code>." in prompt,
        "imports": "math" in prompt,
        "instructions": prompt.endswith("Be brief."),
        "last request": [text_of(model.requests[1][0]), text_of(model.requests[1][-1])],
        "incomplete": raised(lib, lambda: lib.CodeAgent(tools=[], model=model, prompt_templates=incomplete)),
        "read-only": raised(lib, lambda: setattr(agent, "system_prompt", "x")),
    }


def edited_template(lib: Any) -> Any:
    """`agent.prompt_templates["system_prompt"]` is changed after construction, as the documentation advises."""
    model = prepared(lib, code("final_answer(1)"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    agent.prompt_templates["system_prompt"] = agent.prompt_templates["system_prompt"] + "\nHere you go!"
    agent.run("Go.")
    return text_of(model.requests[0][0]).endswith("Here you go!")


def tools_added_later(lib: Any) -> Any:
    """`agent.tools[name] = tool` after construction: the next run has it and the prompt names it."""

    @lib.tool
    def shout(text: str) -> str:
        """Makes it loud.

        Args:
            text: What to shout.
        """
        return text.upper()

    model = prepared(lib, code("final_answer(shout('a'))"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    agent.tools[shout.name] = shout
    return [agent.run("Shout."), "shout" in text_of(model.requests[0][0])]


def authorized_imports(lib: Any) -> Any:
    """A list of authorized imports is a policy: others are refused, with their name."""
    model = prepared(
        lib, code("import math, fractions\nx = math.sqrt(4)"), code("import socket"), code("final_answer(x)")
    )
    agent = lib.CodeAgent(tools=[], model=model, additional_authorized_imports=["fractions"], **quiet(lib))
    answer = agent.run("Go.")
    steps = actions(lib, agent.memory)
    return {
        "answer": answer,
        "errors": [type(step.error).__name__ for step in steps],
        "named": "socket" in steps[1].error.message,
        "in the prompt": "fractions" in agent.system_prompt,
    }


def code_block_tags(lib: Any) -> Any:
    """Markdown fences or tags of the user's."""
    found = {}
    for name, tags, reply in (
        ("markdown", "markdown", "Now.\n```python\nfinal_answer(1)\n```"),
        ("pair", ("<run>", "</run>"), "Now.\n<run>final_answer(2)</run>"),
        ("fences understood by default", None, "Now.\n```python\nfinal_answer(3)\n```"),
    ):
        model = prepared(lib, reply)
        agent = lib.CodeAgent(tools=[], model=model, code_block_tags=tags, max_steps=1, **quiet(lib))
        found[name] = [agent.run("Go."), (tags or ("<code>",))[0] in agent.system_prompt or tags == "markdown"]
    found["other text"] = raised(lib, lambda: lib.CodeAgent(tools=[], model=prepared(lib), code_block_tags="xml"))
    return found


def custom_executor(lib: Any) -> Any:
    """A PythonExecutor of the user's, with only the three documented methods."""
    base = public(lib, "PythonExecutor", "local_python_executor")
    output = public(lib, "CodeOutput", "local_python_executor")

    class Echo(base):
        def __init__(self):
            self.tools, self.variables, self.codes = {}, {}, []

        def send_tools(self, tools):
            self.tools.update(tools)

        def send_variables(self, variables):
            self.variables.update(variables)

        def __call__(self, code_action):
            self.codes.append(code_action)
            last = len(self.codes) == 2
            return output(output=self.variables["n"] * len(self.codes), logs="said\n", is_final_answer=last)

    executor = Echo()
    model = prepared(lib, code("one"), code("two"))
    agent = lib.CodeAgent(tools=[], model=model, executor=executor, **quiet(lib))
    answer = agent.run("Go.", additional_args={"n": 5})
    first = actions(lib, agent.memory)[0]
    return {
        "answer": answer,
        "codes": [each.strip() for each in executor.codes],
        "tools": "final_answer" in executor.tools,
        "observation": ["said" in first.observations, "5" in first.observations],
        "same object": agent.python_executor is executor,
    }


def local_executor_alone(lib: Any) -> Any:
    """LocalPythonExecutor used without an agent."""
    executor = public(lib, "LocalPythonExecutor", "local_python_executor")(["fractions"])
    executor.send_tools({})
    executor.send_variables({"a": 2})
    first = executor("print('hello')\nb = a * 3")
    second = executor("b + 1")
    error = raised(lib, lambda: executor("undefined_name_xyz"))
    return [first.output, first.logs, first.is_final_answer, second.output, second.logs, error is not None]


def executor_kwargs(lib: Any) -> Any:
    """`executor_kwargs` reach the executor; an action that takes too long is a step with an error."""
    model = prepared(lib, code("import time\ntime.sleep(3)"), code("final_answer('after')"))
    agent = lib.CodeAgent(
        tools=[],
        model=model,
        executor_kwargs={"timeout_seconds": 1},
        additional_authorized_imports=["time"],
        **quiet(lib),
    )
    answer = agent.run("Go.")
    return [answer, type(actions(lib, agent.memory)[0].error).__name__]


def long_outputs(lib: Any) -> Any:
    """`max_print_outputs_length` caps what the model reads of an action."""
    model = prepared(lib, code("print('a' * 5000)"), code("final_answer(1)"))
    agent = lib.CodeAgent(tools=[], model=model, max_print_outputs_length=300, **quiet(lib))
    agent.run("Go.")
    return len(actions(lib, agent.memory)[0].observations) < 1000


def context_manager(lib: Any) -> Any:
    """`with CodeAgent(...) as agent`."""
    with lib.CodeAgent(tools=[], model=prepared(lib, code("final_answer(1)")), **quiet(lib)) as agent:
        return agent.run("Go.")


def full_result(lib: Any) -> Any:
    """`return_full_result`, for the agent or for one run; its fields and `dict()`."""
    agent = lib.CodeAgent(tools=[], model=prepared(lib, *[code("final_answer(7)")] * 3), **quiet(lib))
    result = agent.run("Go.", return_full_result=True)
    plain = agent.run("Go.")
    agent.return_full_result = True
    again = agent.run("Go.")
    return {
        "class": type(result).__name__,
        "output": [result.output, plain, again.output],
        "state": result.state,
        "tokens": [result.token_usage.input_tokens, result.token_usage.output_tokens, result.token_usage.total_tokens],
        "steps": [sorted(step) for step in result.steps],
        "dict": [key for key in result.dict() if key in ("output", "state", "steps", "token_usage", "timing")],
        "timing": sorted(result.timing.dict()),
        "duration": result.timing.duration > 0,
    }


def memory_read_back(lib: Any) -> Any:
    """Steps, plain data of them, the whole code, and a replay in the console."""
    replies = [code("a = 1\nprint('one')"), "no code", code("final_answer(a)")]
    agent = lib.CodeAgent(tools=[], model=prepared(lib, *replies), **quiet(lib))
    agent.run("Go.")
    full, short = agent.memory.get_full_steps(), agent.memory.get_succinct_steps()
    first = short[1]
    agent.logger.level = lib.LogLevel.INFO
    with contextlib.redirect_stdout(io.StringIO()):
        replayed = [agent.replay(), agent.replay(detailed=True)]
    return {
        "system prompt": agent.memory.system_prompt.system_prompt == agent.system_prompt,
        "keys left out": sorted(set(full[1]) - set(short[1])),
        "keys": [sorted(step) for step in short],
        "code": agent.memory.return_full_code(),
        "call": [first["tool_calls"][0]["type"], first["tool_calls"][0]["function"]["name"]],
        "number": [step.get("step_number") for step in short],
        "error": [step.get("error") and sorted(step["error"]) for step in short],
        "tokens": first["token_usage"],
        "replay": replayed,
        "roles": [str(message.role.value) for message in agent.write_memory_to_messages()][:2],
        "reset": [agent.memory.reset(), kinds(agent.memory)],
    }


def state(lib: Any) -> Any:
    """`agent.state` holds what was handed over, also between runs that continue."""
    agent = lib.CodeAgent(tools=[], model=prepared(lib, *[code("final_answer(n)")] * 2), **quiet(lib))
    first = agent.run("Go.", additional_args={"n": 1})
    second = agent.run("Go.", additional_args={"n": 2}, reset=False)
    return [first, second, agent.state["n"]]


def token_totals(lib: Any) -> Any:
    """The monitor's totals, also when streaming."""
    found = []
    for make in (prepared, streaming):
        agent = lib.CodeAgent(
            tools=[],
            model=make(lib, code("x = 1"), code("final_answer(x)")),
            stream_outputs=make is streaming,
            **quiet(lib),
        )
        result = agent.run("Go.", return_full_result=True)
        total = agent.monitor.get_total_token_counts()
        monitor = agent.monitor
        found.append([total.input_tokens, total.output_tokens, result.token_usage.total_tokens])
        found.append([monitor.total_input_token_count, monitor.total_output_token_count, len(monitor.step_durations)])
    return found


def save_and_load(lib: Any) -> Any:
    """`save` to a folder and `from_folder`; `to_dict` and `from_dict`: the agent works as before."""

    class Greeter(lib.Tool):
        name = "greet"
        description = "Greets."
        inputs = {"name": {"type": "string", "description": "Whom."}}
        output_type = "string"

        def forward(self, name):
            return f"Hello {name}"

    reply = code("final_answer(greet('Ada'))")
    model = lib.LiteLLMModel(model_id="openai/none", api_base="http://127.0.0.1:9/v1", api_key="none")
    agent = lib.CodeAgent(
        tools=[Greeter()],
        model=model,
        max_steps=7,
        name="host",
        description="Greets people.",
        additional_authorized_imports=["fractions"],
        **quiet(lib),
    )
    with tempfile.TemporaryDirectory() as folder:
        agent.save(folder)
        files = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
        loaded = lib.CodeAgent.from_folder(folder, **quiet(lib))
    as_dict = agent.to_dict()
    rebuilt = lib.CodeAgent.from_dict(as_dict, max_steps=3, **quiet(lib))
    models = [type(each.model).__name__ for each in (loaded, rebuilt)]
    loaded.model, rebuilt.model = prepared(lib, reply), prepared(lib, reply)
    return {
        "files": [name for name in ("agent.json", "app.py", "prompts.yaml", "tools/greet.py") if name in files],
        "loaded": [loaded.run("Greet."), loaded.max_steps, loaded.name, sorted(loaded.tools)],
        "dict": [key for key in sorted(as_dict) if key not in ("requirements",)],
        "rebuilt": [rebuilt.run("Greet."), rebuilt.max_steps, rebuilt.description],
        "models": models,
        "imports": "fractions" in rebuilt.additional_authorized_imports,
    }


def tool_saved_as_code(lib: Any) -> Any:
    """`Tool.save`, `to_dict`, `from_dict`, `from_code` for a class and for a function."""

    class Double(lib.Tool):
        name = "double"
        description = "Doubles."
        inputs = {"x": {"type": "integer", "description": "A number."}}
        output_type = "integer"

        def forward(self, x):
            import math

            return math.floor(x) * 2

    tool = Double()
    data = tool.to_dict()
    with tempfile.TemporaryDirectory() as folder:
        tool.save(folder, make_gradio_app=False)
        files = sorted(path.name for path in Path(folder).iterdir())
        source = (Path(folder) / "tool.py").read_text()
    return {
        "keys": sorted(data),
        "from dict": lib.Tool.from_dict(data)(x=4),
        "from code": lib.Tool.from_code(source)(x=5),
        "files": files,
        "name": data["name"],
    }


def model_round_trip(lib: Any) -> Any:
    """A Model's `to_dict` and `from_dict`; keys are not in the data."""
    model = lib.LiteLLMModel(
        model_id="openai/gpt-x", api_base="http://127.0.0.1:9/v1", api_key="secret", temperature=0.5
    )
    data = model.to_dict()
    again = lib.LiteLLMModel.from_dict(data)
    return {
        "model_id": data["model_id"],
        "secret": "secret" in json.dumps(data),
        "temperature": [data.get("temperature"), again.kwargs.get("temperature")],
        "again": [again.model_id, again.api_base],
    }
