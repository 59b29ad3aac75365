"""Classes that users derive from agents and tools: what they hold and define themselves is theirs."""

from __future__ import annotations

import pytest
from scripted_replies import call, code, final

from smol_kernel import ChatMessage, CodeAgent, Tool, ToolCallingAgent, tool
from smol_kernel.errors import ConfigError

OWN = "answer answered outputs run_id depth stop settings functions events called in_use account current_step report"
PRIVATE = "_run _plan _step _steps _request _call _best _sent _begun _finished _left _ending _accept _attempt"
KINDS = {
    CodeAgent: [code("x = double(4)"), code("final_answer(x)")],
    ToolCallingAgent: [call("double", x=4), final("8")],
}


@tool
def double(x: int) -> int:
    """Doubles.

    Args:
        x: a number.
    """
    return 2 * x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", f"{OWN} {PRIVATE}".split())
def test_a_subclass_has_attributes_of_its_own(make, kind, name):
    class Own(kind):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            setattr(self, name, ["mine"])

    agent = make(KINDS[kind], tools=[double], kind=Own)
    assert str(agent.run("t")) == "8"
    assert getattr(agent, name) == ["mine"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", f"{OWN} {PRIVATE}".split())
def test_a_subclass_has_methods_of_its_own(make, kind, name):
    own = type("Own", (kind,), {name: lambda self, question: self.run(question)})
    agent = make(KINDS[kind], tools=[double], kind=own)
    assert str(getattr(agent, name)("t")) == "8"


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_name_of_the_loop_is_refused_where_the_class_is_defined(kind):
    for name in ("_prepare", "_begin_life", "_told"):
        with pytest.raises(ConfigError, match=f"Own defines {name}, which our own loop uses"):
            type("Own", (kind,), {name: lambda self: None})
        with pytest.raises(ConfigError, match=f"Own defines {name}, which our own loop uses"):
            type("Own", (type("Mixin", (), {name: lambda self: None}), kind), {})
    assert type("Own", (kind,), {"_load": 1, "_act": lambda self, step: iter(())})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["life", "run_events", "_prepare"])
def test_so_it_is_where_an_agent_sets_it(make, kind, name):
    class Own(kind):
        def __init__(self, *args, **kwargs):
            setattr(self, name, {})
            super().__init__(*args, **kwargs)

    with pytest.raises(ConfigError, match=f"Own sets {name}, which our own loop uses"):
        make([], kind=Own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subclass_may_hold_a_model_of_its_own_making(make, kind):
    own = type("Own", (kind,), {"model": None})
    reply = final("8") if kind is ToolCallingAgent else ChatMessage("assistant", code("final_answer('8')"))
    agent = own(tools=[], model=lambda messages, **options: reply, journal=False, verbosity_level=0)
    assert agent.run("t") == "8"


@pytest.mark.parametrize("kind", KINDS)
def test_a_called_agent_and_a_successor_have_too(make, kind):
    own = type("Own", (kind,), {"events": [], "answer": None, "stop": False, "report": "mine", "told": 1})
    called = make(KINDS[kind], tools=[double], kind=own, name="called", description="Works.")
    caller = make([code("final_answer(called('t'))")], managed_agents=[called])
    assert "8" in caller.run("t")
    successor = make(KINDS[kind], tools=[double], kind=own, name="next", description="Works.")
    assert str(make([code("transfer_to_next('better')")], handoffs=[successor]).run("t")) == "8"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "value"), [("budget", 100), ("checks", ["must cite sources"]), ("journal", ["x"])])
def test_a_parameter_that_a_program_changed_is_looked_at_before_a_run(make, kind, name, value):
    agent = make(KINDS[kind], tools=[double], kind=kind)
    setattr(agent, name, value)
    with pytest.raises(ConfigError, match=r"budget is 100|check 'must cite sources' is not|journal is \['x'\]"):
        agent.run("t")
    assert agent.model.requests == []


def test_a_tool_has_attributes_of_its_own():
    class Lazy(Tool):
        name, description, output_type = "lazy", "Sets itself up.", "integer"
        inputs = {"x": {"type": "integer", "description": "a number"}}  # noqa: RUF012
        _defaults, _prepared = {"x": 1}, False

        def forward(self, x: int) -> int:
            self._prepared = True
            return x

    lazy = Lazy()
    assert (lazy(3), lazy._prepared) == (3, True)
