"""Public behaviour that a user of smolagents relies on: steps, messages, tools, errors, results, as data."""

from __future__ import annotations

import json
from typing import Any, Literal, Optional

import pytest

from smol_kernel import (
    ActionStep,
    AgentError,
    AgentExecutionError,
    AgentGenerationError,
    AgentMaxStepsError,
    AgentMemory,
    AgentParsingError,
    AgentToolCallError,
    AgentToolExecutionError,
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    CodeAgent,
    FinalAnswerStep,
    LogLevel,
    MessageRole,
    Model,
    PlanningStep,
    ScriptedModel,
    SystemPromptStep,
    TaskStep,
    Timing,
    TokenUsage,
    Tool,
    ToolCall,
    agglomerate_stream_deltas,
    populate_template,
    tool,
)


def action(code: str) -> str:
    return f"Thought.\n<code>\n{code}\n</code>"


def code_agent(*replies, **options):
    return CodeAgent(tools=options.pop("tools", []), model=ScriptedModel(list(replies)), verbosity_level=-1, **options)


# -- values


def test_token_usage_and_timing_are_plain_data():
    usage = TokenUsage(input_tokens=10, output_tokens=5)
    assert (usage.total_tokens, usage.dict()) == (15, {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15})
    timing = Timing(start_time=1.0)
    assert (timing.end_time, timing.duration) == (None, None)
    timing.end_time = 3.5
    assert timing.dict() == {"start_time": 1.0, "end_time": 3.5, "duration": 2.5}


def test_a_tool_call_is_in_the_form_of_openai():
    assert ToolCall(name="f", arguments={"x": 1}, id="a").dict() == {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": {"x": 1}},
    }


def test_errors_form_the_known_tree_and_are_plain_data():
    tree = {
        AgentParsingError: AgentError,
        AgentExecutionError: AgentError,
        AgentMaxStepsError: AgentError,
        AgentGenerationError: AgentError,
        AgentToolCallError: AgentExecutionError,
        AgentToolExecutionError: AgentExecutionError,
    }
    for kind, base in tree.items():
        error = kind("what went wrong", None)
        assert isinstance(error, base) and isinstance(error, Exception)
        assert (error.message, str(error)) == ("what went wrong", "what went wrong")
        assert error.dict() == {"type": kind.__name__, "message": "what went wrong"}


def test_log_levels_are_ordered_numbers():
    assert LogLevel.OFF < LogLevel.ERROR < LogLevel.INFO < LogLevel.DEBUG
    assert [int(level) for level in LogLevel] == [-1, 0, 1, 2]


# -- messages


def test_roles_are_strings():
    assert MessageRole.TOOL_RESPONSE == "tool-response"
    assert MessageRole.roles() == ["user", "assistant", "system", "tool-call", "tool-response"]


def test_a_message_is_made_from_plain_data_and_goes_back():
    data = {
        "role": "assistant",
        "content": "hello",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}, "description": None}}
        ],
    }
    message = ChatMessage.from_dict(data, raw={"from": "provider"}, token_usage=TokenUsage(1, 2))
    assert message.tool_calls[0].function.name == "f"
    assert (message.raw, message.token_usage.total_tokens) == ({"from": "provider"}, 3)
    assert message.dict()["tool_calls"][0]["function"]["arguments"] == {"x": 1}
    assert json.loads(ChatMessage(role=MessageRole.USER, content="hi").model_dump_json())["content"] == "hi"


def test_stream_deltas_become_one_message():
    deltas = [
        ChatMessageStreamDelta(content="Hel"),
        ChatMessageStreamDelta(content="lo", token_usage=TokenUsage(input_tokens=10, output_tokens=2)),
    ]
    message = agglomerate_stream_deltas(deltas)
    assert (message.role, message.content) == (MessageRole.ASSISTANT, "Hello")
    assert message.token_usage.dict() == TokenUsage(10, 2).dict()


# -- steps and memory


def test_steps_speak_to_the_model_in_the_known_roles():
    step = ActionStep(
        step_number=1,
        timing=Timing(0.0, 1.0),
        model_output="I look.",
        observations="Execution logs:\nseen",
        observations_images=["an image"],
        error=AgentParsingError("not so", None),
    )
    messages = step.to_messages()
    assert messages[0].role == MessageRole.ASSISTANT
    assert {message.role for message in messages[1:]} <= {
        MessageRole.TOOL_CALL,
        MessageRole.TOOL_RESPONSE,
        MessageRole.USER,
    }
    parts = [part for message in messages for part in message.content]
    texts = "\n".join(part["text"] for part in parts if part["type"] == "text")
    assert all(text in texts for text in ("I look.", "Observation:", "seen", "Error:", "not so"))
    assert [part["image"] for part in parts if part["type"] == "image"] == ["an image"]
    assert "I look." not in str([message.content for message in step.to_messages(summary_mode=True)])


def test_task_prompt_and_plan_as_messages():
    task = TaskStep(task="Add.", task_images=["an image"]).to_messages()
    assert [message.role for message in task] == [MessageRole.USER]
    assert "Add." in task[0].content[0]["text"] and task[0].content[1]["image"] == "an image"
    prompt = SystemPromptStep(system_prompt="You are.")
    assert prompt.to_messages()[0].role == MessageRole.SYSTEM and prompt.to_messages(summary_mode=True) == []
    reply = ChatMessage(role=MessageRole.ASSISTANT, content="1. Go.")
    plan = PlanningStep(model_input_messages=[], model_output_message=reply, plan="1. Go.", timing=Timing(0.0, 1.0))
    assert [message.role for message in plan.to_messages()] == [MessageRole.ASSISTANT, MessageRole.USER]
    assert plan.to_messages(summary_mode=True) == []
    assert plan.dict()["plan"] == "1. Go."


def test_memory_is_a_list_of_steps_after_the_system_prompt():
    memory = AgentMemory(system_prompt="You are.")
    memory.steps.append(TaskStep(task="Add."))
    memory.steps.append(
        ActionStep(step_number=1, timing=Timing(0.0, 1.0), code_action="a = 1", model_input_messages=[])
    )
    memory.steps.append(ActionStep(step_number=2, timing=Timing(1.0, 2.0), code_action="a"))
    assert memory.system_prompt.system_prompt == "You are."
    assert memory.get_full_steps()[0] == {"task": "Add.", "task_images": None}
    assert [
        set(full) - set(short) for full, short in zip(memory.get_full_steps(), memory.get_succinct_steps(), strict=True)
    ] == [
        set(),
        {"model_input_messages"},
        {"model_input_messages"},
    ]
    assert memory.return_full_code() == "a = 1\n\na"
    memory.reset()
    assert (memory.steps, memory.system_prompt.system_prompt) == ([], "You are.")


def test_a_finished_run_leaves_task_and_actions_in_the_memory():
    agent = code_agent(action("print('x is', 3)\nx = 3"), action("final_answer(x)"))
    assert agent.run("Go.") == 3
    assert [type(step) for step in agent.memory.steps] == [TaskStep, ActionStep, ActionStep]
    assert agent.memory.steps[-1].is_final_answer and agent.memory.steps[-1].action_output == 3
    assert not any(isinstance(step, FinalAnswerStep) for step in agent.memory.steps)
    observed = agent.memory.steps[1].observations
    assert observed.startswith("Execution logs:\nx is 3\n")
    assert observed.endswith("Last output from code snippet:\n3")
    call = agent.memory.steps[1].tool_calls[0]
    assert (call.name, call.arguments) == ("python_interpreter", "print('x is', 3)\nx = 3")


# -- tools


@tool
def sample(text: str, count: int = 2, mode: Literal["a", "b"] = "a", more: Optional[list] = None) -> dict:  # noqa: UP045
    """Does a thing with text.

    It has a second paragraph.

    Args:
        text: What to use.
        count: How often.
        mode: In which
            manner.
        more: Other things.

    Returns:
        What came out.
    """
    return {"text": text * count, "mode": mode, "more": more}


def test_a_function_becomes_a_tool_by_its_hints_and_docstring():
    assert isinstance(sample, Tool)
    assert (sample.name, sample.output_type) == ("sample", "object")
    assert sample.description.startswith("Does a thing with text.")
    assert {name: entry["type"] for name, entry in sample.inputs.items()} == {
        "text": "string",
        "count": "integer",
        "mode": "string",
        "more": "array",
    }
    assert sample.inputs["text"]["description"] == "What to use."
    assert "nullable" not in sample.inputs["text"] and sample.inputs["more"]["nullable"] is True
    assert sample.inputs["count"]["nullable"] is True  # it may be left out
    assert sorted(sample.inputs["mode"]["enum"]) == ["a", "b"]


def test_a_tool_is_called_in_every_way():
    assert sample("x") == {"text": "xx", "mode": "a", "more": None}
    assert sample("x", 1, mode="b")["mode"] == "b"
    assert sample({"text": "y", "count": 1})["text"] == "y"  # one dictionary of all arguments
    assert sample.forward("z")["text"] == "zz"


def test_a_tool_is_told_to_models_as_code_and_as_text():
    as_code, as_text = sample.to_code_prompt(), sample.to_tool_calling_prompt()
    assert as_code.startswith("def sample(text: str, count: int")
    assert "-> dict:" in as_code and "What to use." in as_code
    assert as_text.startswith("sample: Does a thing with text.") and "object" in as_text


def test_a_subclass_is_checked_when_it_is_made_and_set_up_once():
    class Counter(Tool):
        name = "counter"
        description = "Counts."
        inputs = {"by": {"type": "integer", "description": "How many.", "nullable": True}}  # noqa: RUF012
        output_type = "integer"
        setups = 0

        def setup(self):
            type(self).setups += 1
            self.total = 0
            super().setup()

        def forward(self, by: Optional[int] = 1) -> int:  # noqa: UP045
            self.total += by
            return self.total

    counter = Counter()
    assert not counter.is_initialized and Counter.setups == 0
    assert [counter(), counter(by=4)] == [1, 5]
    assert counter.is_initialized and Counter.setups == 1


def subclass(**attributes) -> type[Tool]:
    body: dict[str, Any] = {
        "name": "thing",
        "description": "Does.",
        "inputs": {"x": {"type": "string", "description": "X."}},
        "output_type": "string",
        "forward": lambda self, x: x,
    }
    return type("Thing", (Tool,), {**body, **attributes})


@pytest.mark.parametrize(
    "attributes",
    [
        {"name": "not a name"},
        {"name": "class"},
        {"name": 3},
        {"description": None},
        {"inputs": []},
        {"inputs": {"x": {"type": "string"}}},
        {"inputs": {"x": {"type": "text", "description": "X."}}},
        {"inputs": {"y": {"type": "string", "description": "Y."}}},
        {"output_type": "text"},
        {"output_type": None},
        {"forward": lambda self, x=None: x},  # it may be left out, and the schema does not say so
    ],
    ids=lambda attributes: "_".join([*attributes, str(attributes.get("name", ""))]),
)
def test_a_subclass_that_is_wrong_is_refused(attributes):
    assert subclass()().name == "thing"
    with pytest.raises((Exception,)) as caught:
        subclass(**attributes)()
    assert isinstance(caught.value, (TypeError, ValueError, AttributeError, AssertionError))


# -- prompts and agents


def test_templates_are_jinja_and_unknown_variables_an_error():
    assert populate_template("{% for t in tools %}{{t}},{% endfor %}", {"tools": ["a", "b"]}) == "a,b,"
    with pytest.raises(Exception, match="nothing"):
        populate_template("{{ nothing }}", {})


def test_a_function_with_the_signature_of_generate_is_a_model():
    def model(messages, stop_sequences=None, **kwargs):
        assert "</code>" in stop_sequences
        return ChatMessage(role=MessageRole.ASSISTANT, content=action("final_answer('called')"))

    assert CodeAgent(tools=[], model=model, verbosity_level=-1).run("Go.") == "called"


def test_a_model_subclass_needs_only_generate():
    class Mine(Model):
        def generate(self, messages, stop_sequences=None, **kwargs):
            return ChatMessage(role=MessageRole.ASSISTANT, content=action("final_answer(model_said)"))

    agent = CodeAgent(tools=[], model=Mine(), verbosity_level=-1)
    assert agent.run("Go.", additional_args={"model_said": "yes"}) == "yes"


def test_the_system_prompt_is_read_only():
    agent = code_agent()
    with pytest.raises(AttributeError, match=r"CodeAgent: .* agent\.prompt_templates\['system_prompt'\]"):
        agent.system_prompt = "x"
    kind = type("Own", (CodeAgent,), {"system_prompt": "mine"})
    own = kind(tools=[], model=agent.model)
    own.system_prompt = "yours"
    assert own.system_prompt == "yours"


def test_what_the_step_says_after_the_limit():
    agent = code_agent(action("x = 1"), "my best guess", max_steps=1)
    result = agent.run("Go.", return_full_result=True)
    assert (result.output, result.state) == ("my best guess", "max_steps_error")
    assert isinstance(agent.memory.steps[-1], ActionStep)
    assert isinstance(agent.memory.steps[-1].error, AgentMaxStepsError)


def test_the_full_result_is_plain_data():
    usage = TokenUsage(input_tokens=5, output_tokens=2)
    reply = ChatMessage(role=MessageRole.ASSISTANT, content=action("final_answer('a')"), token_usage=usage)
    result = code_agent(reply).run("Go.", return_full_result=True)
    assert (result.output, result.state, result.token_usage.total_tokens) == ("a", "success", 7)
    data = result.dict()
    assert data["token_usage"] == usage.dict() and data["timing"]["duration"] >= 0
    assert data["steps"][1]["is_final_answer"] is True and data["steps"][1]["step_number"] == 1


def test_structured_calls_are_dataclasses():
    call = ChatMessageToolCall(function=ChatMessageToolCallFunction(name="f", arguments={}), id="1", type="function")
    message = ChatMessage(role=MessageRole.ASSISTANT, content=None, tool_calls=[call])
    assert message.dict()["tool_calls"][0]["id"] == "1"
