"""A folder in the shape that smolagents 1.26 writes, written by hand here, is loaded, runs, and is saved again."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from smol_kernel import CodeAgent, OpenAIModel, ScriptedModel


def code(text: str) -> str:
    return f"Now.\n<code>\n{text}\n</code>"


def call(name: str, **arguments: object) -> str:
    return json.dumps({"name": name, "arguments": arguments})


THEIR_PROMPTS = {
    "system_prompt": (
        "Write Python between {{code_block_opening_tag}} and {{code_block_closing_tag}}.\n"
        "{%- for tool in tools.values() %}\n{{ tool.to_code_prompt() }}\n{% endfor %}\n"
        "{%- if managed_agents and managed_agents.values() | list %}\n"
        "{%- for agent in managed_agents.values() %}\nAgent {{ agent.name }}: {{ agent.description }}\n{% endfor %}"
        "{%- endif %}\nModules: {{authorized_imports}}\n"
        "{%- if custom_instructions %}\n{{custom_instructions}}\n{%- endif %}"
    ),
    "planning": {
        "initial_plan": "Plan {{task}} with {{ tools.values() | map(attribute='name') | join(', ') }}.",
        "update_plan_pre_messages": "Think again about {{task}}:",
        "update_plan_post_messages": "Now a new plan; {remaining_steps} steps are left.",
    },
    "managed_agent": {"task": "{{name}}, please: {{task}}", "report": "{{name}} says: {{final_answer}}"},
    "final_answer": {"pre_messages": "You are stuck.", "post_messages": "Answer anyway: {{task}}"},
}
THEIR_TOOL = """from smolagents import Tool
from typing import Any, Optional

class SimpleTool(Tool):
    name = "double"
    description = "Doubles."
    inputs = {'n': {'type': 'integer', 'description': 'a number'}}
    output_type = "integer"

    def forward(self, n: int) -> int:
        return 2 * n
"""
THEIR_ANSWER = """from typing import Any, Optional
from smolagents.tools import Tool

class FinalAnswerTool(Tool):
    name = "final_answer"
    description = "Gives the answer."
    inputs = {'answer': {'type': 'any', 'description': 'the answer'}}
    output_type = "any"

    def forward(self, answer: Any) -> Any:
        return answer

    def __init__(self, *args, **kwargs):
        self.is_initialized = False
"""


def their_folder(folder: Path, kind: str, name: str, prompts: dict, **settings) -> None:
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "double.py").write_text(THEIR_TOOL)
    (folder / "tools" / "final_answer.py").write_text(THEIR_ANSWER)
    (folder / "prompts.yaml").write_text(yaml.safe_dump(prompts, default_style="|"))
    data = {
        "class": kind,
        "tools": ["double", "final_answer"],
        "model": {"class": "LiteLLMModel", "data": {"temperature": 0.1, "model_id": "openai/x", "api_base": None}},
        "managed_agents": {},
        "prompt_templates": prompts,
        "max_steps": 5,
        "verbosity_level": -1,
        "planning_interval": None,
        "name": name,
        "description": "Does it.",
        "requirements": ["smolagents"],
    }
    (folder / "agent.json").write_text(json.dumps({**data, **settings}, indent=4))


def test_a_folder_that_smolagents_wrote_is_loaded_and_works(tmp_path):
    more = {
        "authorized_imports": ["collections", "json", "math"],
        "executor_type": "local",
        "executor_kwargs": {"timeout_seconds": 20},
        "max_print_outputs_length": None,
    }
    managed = {"managed_agents": {"helper": "ToolCallingAgent"}}
    their_folder(tmp_path, "CodeAgent", "chief", THEIR_PROMPTS, planning_interval=1, **managed, **more)
    prompts = {**THEIR_PROMPTS, "system_prompt": "Call tools."}
    their_folder(tmp_path / "managed_agents" / "helper", "ToolCallingAgent", "helper", prompts)
    script = ScriptedModel(
        ["The plan.", code("import json\nhelper('go')"), "New plan.", code("final_answer(double(4))")]
    )
    with CodeAgent.from_folder(tmp_path, model=script) as agent:
        helper = agent.managed_agents["helper"]
        assert helper.model.model_id == "openai/x"
        helper.model = ScriptedModel([call("double", n=4), call("final_answer", answer="eight")])
        assert "def double(n: int) -> int:" in agent.system_prompt
        assert "Agent helper: Does it." in agent.system_prompt
        assert "'math'" in agent.system_prompt
        assert agent.run("compute") == 8
    assert "helper says: eight" in agent.memory.steps[2].observations
    assert helper.task == "helper, please: go"
    agent.model = OpenAIModel("some-model")
    helper.model = OpenAIModel("some-model")
    agent.save(tmp_path / "again")
    assert CodeAgent.from_folder(tmp_path / "again").to_dict() == agent.to_dict()
