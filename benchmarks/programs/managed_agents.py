"""Programs with agents that call agents."""

from __future__ import annotations

from typing import Any

from scripted import actions, call, code, prepared, quiet, raised, text_of


def _everything(messages: list) -> str:
    return "\n".join(text_of(message) for message in messages)


def code_agent_manages_tool_calling_agent(lib: Any) -> Any:
    """A CodeAgent calls a ToolCallingAgent as a function and works with its report."""

    @lib.tool
    def look_up(word: str) -> str:
        """Looks a word up.

        Args:
            word: The word.
        """
        return {"smol": "small"}[word]

    searcher_model = prepared(lib, call("look_up", word="smol"), call("final_answer", answer="smol means small"))
    searcher = lib.ToolCallingAgent(
        tools=[look_up], model=searcher_model, name="searcher", description="Looks words up.", **quiet(lib)
    )
    model = prepared(
        lib,
        code("report = searcher(task='What does smol mean?')\nprint(report)"),
        code("final_answer('small' in report)"),
    )
    manager = lib.CodeAgent(tools=[], model=model, managed_agents=[searcher], **quiet(lib))
    answer = manager.run("What does smol mean?")
    return {
        "answer": answer,
        "in the prompt": ["searcher" in manager.system_prompt, "Looks words up." in manager.system_prompt],
        "task of the searcher": "What does smol mean?" in _everything(searcher_model.requests[0]),
        "its name in its prompt": "searcher" in _everything(searcher_model.requests[0]),
        "report read by the manager": "smol means small" in _everything(model.requests[1]),
        "report is text": isinstance(searcher.memory.steps, list),
        "its steps": len(actions(lib, searcher.memory)),
        "its inputs": sorted(searcher.inputs),
    }


def tool_calling_agent_manages_code_agents(lib: Any) -> Any:
    """A ToolCallingAgent calls two CodeAgents in one step."""

    def worker(name: str, text: str) -> Any:
        return lib.CodeAgent(
            tools=[], model=prepared(lib, code(text)), name=name, description=f"Is {name}.", **quiet(lib)
        )

    workers = [worker("adder", "final_answer(2 + 3)"), worker("joiner", "final_answer('a' + 'b')")]
    model = prepared(
        lib,
        [call("adder", task="Add 2 and 3."), call("joiner", task="Join a and b.")],
        call("final_answer", answer="5 ab"),
    )
    manager = lib.ToolCallingAgent(tools=[], model=model, managed_agents=workers, **quiet(lib))
    answer = manager.run("Add and join.")
    observed = actions(lib, manager.memory)[0].observations
    return {
        "answer": answer,
        "reports": ["5" in observed, "ab" in observed],
        "offered": sorted(model.options[0]["tools"])[:1],
        "names": sorted(manager.tools_and_managed_agents, key=str)[:1] and len(manager.tools_and_managed_agents),
    }


def managed_with_additional_args(lib: Any) -> Any:
    """Values go to a managed agent by `additional_args`, in full."""
    worker = lib.CodeAgent(
        tools=[],
        model=prepared(lib, code("final_answer(sum(numbers))")),
        name="adder",
        description="Adds.",
        **quiet(lib),
    )
    model = prepared(
        lib,
        code("report = adder('Add them.', additional_args={'numbers': list(range(100))})"),
        code("final_answer('4950' in report)"),
    )
    manager = lib.CodeAgent(tools=[], model=model, managed_agents=[worker], **quiet(lib))
    return manager.run("Add.")


def run_summary(lib: Any) -> Any:
    """`provide_run_summary=True` puts the worker's steps into its report."""
    reports = []
    for summary in (False, True):
        worker = lib.CodeAgent(
            tools=[],
            model=prepared(lib, code("print('a detail of the work')"), code("final_answer('the result')")),
            name="worker",
            description="Works.",
            provide_run_summary=summary,
            **quiet(lib),
        )
        report = worker("Work.")
        reports.append([isinstance(report, str), "the result" in report, "a detail of the work" in report])
    return reports


def managed_templates(lib: Any) -> Any:
    """The worker's own `managed_agent` templates make its task and its report."""
    worker = lib.CodeAgent(
        tools=[], model=prepared(lib, code("final_answer(3)")), name="worker", description="Works.", **quiet(lib)
    )
    worker.prompt_templates["managed_agent"]["task"] = "You are {{name}}. Do: {{task}}"
    worker.prompt_templates["managed_agent"]["report"] = "{{name}} says {{final_answer}}"
    report = worker("Count.")
    return {"report": report, "task": "You are worker. Do: Count." in worker.task}


def managed_that_fails(lib: Any) -> Any:
    """A worker whose model fails is an error of the manager's step; an unnamed agent cannot be managed."""
    worker = lib.CodeAgent(
        tools=[], model=prepared(lib, RuntimeError("down")), name="worker", description="Works.", **quiet(lib)
    )
    model = prepared(lib, code("worker('Work.')"), code("final_answer('without')"))
    manager = lib.CodeAgent(tools=[], model=model, managed_agents=[worker], **quiet(lib))
    answer = manager.run("Work.")
    nameless = lib.CodeAgent(tools=[], model=prepared(lib), **quiet(lib))
    return {
        "answer": answer,
        "error": actions(lib, manager.memory)[0].error is not None,
        "nameless": raised(lib, lambda: lib.CodeAgent(tools=[], model=model, managed_agents=[nameless])),
        "bad name": raised(lib, lambda: lib.CodeAgent(tools=[], model=model, name="not a name")),
        "name of a tool": raised(
            lib,
            lambda: lib.CodeAgent(
                tools=[lib.FinalAnswerTool()],
                model=model,
                managed_agents=[
                    lib.CodeAgent(tools=[], model=model, name="final_answer", description="Clashes.", **quiet(lib))
                ],
            ),
        ),
    }


def three_levels(lib: Any) -> Any:
    """An agent that manages one that manages one."""
    agents: list = []
    for level, text in enumerate(["final_answer('deep')", "final_answer(one('Go.'))", "final_answer(two('Go.'))"]):
        name = ("one", "two", "three")[level]
        agents.append(
            lib.CodeAgent(
                tools=[],
                model=prepared(lib, code(text)),
                managed_agents=agents[-1:],
                name=name,
                description=f"Is {name}.",
                **quiet(lib),
            )
        )
    return "deep" in agents[-1].run("Go.")


def manager_keeps_workers_apart(lib: Any) -> Any:
    """A worker called twice starts each time anew."""
    worker_model = prepared(lib, code("seen = 1\nfinal_answer('first')"), code("final_answer('second')"))
    worker = lib.CodeAgent(tools=[], model=worker_model, name="worker", description="Works.", **quiet(lib))
    model = prepared(
        lib, code("a = worker('Task one.')\nb = worker('Task two.')\nfinal_answer(['first' in a, 'second' in b])")
    )
    manager = lib.CodeAgent(tools=[], model=model, managed_agents=[worker], **quiet(lib))
    answer = manager.run("Go.")
    return {"answer": answer, "second reads the first": "Task one." in _everything(worker_model.requests[1])}


def structured_hand_over(lib: Any) -> Any:
    """A worker's answer as JSON text is taken to pieces by the manager."""
    worker = lib.CodeAgent(
        tools=[],
        model=prepared(lib, code("import json\nfinal_answer(json.dumps({'city': 'Oslo'}))")),
        name="worker",
        description="Works.",
        additional_authorized_imports=["json"],
        **quiet(lib),
    )
    worker.prompt_templates["managed_agent"]["report"] = "{{final_answer}}"
    model = prepared(lib, code("import json\nfinal_answer(json.loads(worker('Which city?'))['city'])"))
    manager = lib.CodeAgent(
        tools=[], model=model, managed_agents=[worker], additional_authorized_imports=["json"], **quiet(lib)
    )
    return manager.run("Which city?")
