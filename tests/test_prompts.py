"""What the model is told before it begins: our templates and a user's, instructions, tags, and the form of replies."""

import json
from datetime import date

import pandas as pd
import pytest
from scripted_replies import call, code, request

import smol_kernel
from smol_kernel.agents.prompts import EMPTY_PROMPT_TEMPLATES
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ConfigError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.models.base import Model
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool
from smol_kernel.tools.rendering import ForeignTemplate, populate_template


@pytest.fixture(scope="module")
def child():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


@tool
def look(place: str) -> str:
    """Looks somewhere.

    Args:
        place: where.
    """
    return place


class Asked(ScriptedModel):
    """Keeps the options of each request too."""

    def __init__(self, replies):
        super().__init__(replies)
        self.options = []

    def generate(self, messages, *args, **kwargs):
        self.options.append(kwargs)
        return super().generate(messages, *args, **kwargs)


# -- the system prompt


@pytest.mark.parametrize("kind", [smol_kernel.CodeAgent, ToolCallingAgent])
def test_the_prompt_names_tools_agents_and_instructions(make, kind):
    worker = make([], name="worker", description="Works hard.")
    agent = make([], [look], kind=kind, managed_agents=[worker], instructions="Answer in French.")
    prompt = agent.system_prompt
    for part in ("look", "Looks somewhere.", "worker", "Works hard.", "Answer in French.", "final_answer"):
        assert part in prompt
    assert "{{" not in prompt and "{%" not in prompt
    assert "\n\n\n" not in prompt


def test_the_prompt_follows_the_settings_and_cannot_be_set(make):
    agent = make([], [look])
    before = agent.system_prompt
    assert before == agent.initialize_system_prompt() == agent.memory.system_prompt.system_prompt
    agent.tools["twin"] = look
    agent.instructions = "Be brief."
    assert "Be brief." in agent.system_prompt
    with pytest.raises(AttributeError):
        agent.system_prompt = "mine"


def test_the_prompt_of_a_run_is_that_of_its_beginning(make):
    agent = make([call("final_answer", answer=1)], kind=ToolCallingAgent)
    agent.instructions = "Be brief."
    agent.run("Hello")
    assert "Be brief." in request(agent)


@pytest.mark.parametrize(
    ("imports", "there", "absent"),
    [(None, "", "Import only"), ("*", "", "Import only"), (["numpy"], "numpy", ""), ([], "math", "")],
)
def test_imports_are_told_where_they_are_limited(make, imports, there, absent):
    prompt = make([], additional_authorized_imports=imports).system_prompt
    assert there in prompt
    assert not absent or absent not in prompt


@pytest.mark.parametrize("kind", [smol_kernel.CodeAgent, ToolCallingAgent])
def test_tools_may_be_replaced_later(make, kind):
    agent = make([], kind=kind)
    agent.tools = {"look": look}
    assert "Looks somewhere." in agent.system_prompt


def test_an_agent_without_tools_says_nothing_of_them(make):
    assert "def " not in make([]).system_prompt
    assert "Tools:" not in make([], kind=ToolCallingAgent).system_prompt


# -- a user's templates

SHAPE = """You write {{ code_block_opening_tag }}code{{ code_block_closing_tag }}.
{%- for tool in tools.values() %}
{{ tool.to_code_prompt() }}
{{ tool.name }}: {{ tool.description }} takes {{ tool.inputs }} gives {{ tool.output_type }}
{%- endfor %}
{%- if managed_agents and managed_agents.values() | list %}
{%- for agent in managed_agents.values() %}
def {{ agent.name }}(task: str, additional_args: dict) -> str: "{{ agent.description }}"
{%- endfor %}
{%- endif %}
May import {{ authorized_imports }}.
{%- if custom_instructions %}
{{ custom_instructions }}
{%- endif %}"""

TEMPLATES = {
    "system_prompt": SHAPE,
    "planning": {
        "initial_plan": "Plan {{ task }}{% for tool in tools.values() %} with {{ tool.to_code_prompt() }}{% endfor %}"
        "{% if managed_agents and managed_agents.values() | list %} and {{ managed_agents.keys() | join }}{% endif %}",
        "update_plan_pre_messages": "Known of {{ task }}",
        "update_plan_post_messages": "{{ remaining_steps }} left for {{ tools.keys() | join }}",
    },
    "managed_agent": {"task": "{{ name }}, do: {{ task }}", "report": "{{ name }} says {{ final_answer }}"},
    "final_answer": {"pre_messages": "Out of steps.", "post_messages": "Answer {{ task }} now"},
}


def test_templates_in_the_shape_of_smolagents_work(make, child):
    worker = make([], name="worker", description="Works hard.", kind=ToolCallingAgent)
    agent = make(
        ["1. Look.", code("look('a')"), "2. Look.", code("look('b')"), "It is b."],
        [look],
        prompt_templates=TEMPLATES,
        managed_agents=[worker],
        additional_authorized_imports=["numpy"],
        instructions="Be brief.",
        planning_interval=1,
        max_steps=2,
        executor=child,
        name="boss",
        description="Leads.",
    )
    assert agent("search", reset=False) == "boss says It is b."
    prompt = agent.system_prompt
    assert "You write <code>code</code>." in prompt
    assert "look: Looks somewhere. takes {'place'" in prompt
    assert 'def worker(task: str, additional_args: dict) -> str: "Works hard."' in prompt
    assert "'numpy'" in prompt and prompt.endswith("Be brief.")
    assert "Task:\nboss, do: search" in request(agent, 0)
    assert "Plan boss, do: search with def look(" in request(agent, 0)
    assert request(agent, 0).endswith("and worker")
    assert "Known of boss, do: search" in request(agent, 2)
    assert "1 left for look" in request(agent, 2)
    assert "Out of steps.\n\nAnswer boss, do: search now" in request(agent, 4)


def test_a_template_of_the_users_own_has_all_tools(make):
    keys = "{{ tools.keys() | join(' ') }}"
    for kind, system_prompt in ((smol_kernel.CodeAgent, SHAPE), (ToolCallingAgent, keys)):
        agent = make([], [look], kind=kind, prompt_templates={"system_prompt": system_prompt})
        assert "look" in agent.system_prompt and "final_answer" in agent.system_prompt


def test_what_is_left_out_is_ours(make):
    ours = make([]).prompt_templates
    given = {"planning": {"initial_plan": "Plan!"}, "final_answer": None}
    agent = make([], prompt_templates=given)
    assert agent.prompt_templates["planning"] == {**ours["planning"], "initial_plan": "Plan!"}
    assert {name: agent.prompt_templates[name] for name in ("system_prompt", "managed_agent", "final_answer")} == {
        name: ours[name] for name in ("system_prompt", "managed_agent", "final_answer")
    }
    assert given == {"planning": {"initial_plan": "Plan!"}, "final_answer": None}
    given["planning"]["initial_plan"] = "Another plan!"
    assert agent.prompt_templates["planning"]["initial_plan"] == "Plan!"


def test_templates_are_written_with_the_names_of_smolagents():
    templates = smol_kernel.PromptTemplates(
        system_prompt="",
        planning=smol_kernel.PlanningPromptTemplate(
            initial_plan="", update_plan_pre_messages="", update_plan_post_messages=""
        ),
        managed_agent=smol_kernel.ManagedAgentPromptTemplate(task="", report=""),
        final_answer=smol_kernel.FinalAnswerPromptTemplate(pre_messages="", post_messages=""),
    )
    assert templates == EMPTY_PROMPT_TEMPLATES


def test_templates_may_be_empty_and_changed_later(make):
    agent = make([call("final_answer", answer=1)], kind=ToolCallingAgent, prompt_templates=EMPTY_PROMPT_TEMPLATES)
    assert agent.system_prompt == ""
    agent.prompt_templates["system_prompt"] += "Answer {{ custom_instructions }}"
    agent.run("one")
    assert request(agent).startswith("Answer None")
    assert EMPTY_PROMPT_TEMPLATES["system_prompt"] == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "{{ nothing }}",
        "{% for x %}",
        "{{ tools.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ tools['look'].forward.__globals__ }}",
        "{{ tools.look.forward.__func__.__globals__['__builtins__'] }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ '{0.__class__}'.format(tools) }}",
        "{{ range(1000000000) | list }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        None,
    ],
)
def test_a_template_reaches_nothing_else_and_its_faults_are_named(make, wrong):
    with pytest.raises(ConfigError, match="cannot render the prompt template"):
        make([], [look], prompt_templates={"system_prompt": wrong})


SEEN = [
    ("{% for t in tools.values() %}{{ t.name }}: {{ t.inputs.place.type }}{% endfor %}", "look: string"),
    ("{{ tools.look.signature }} {{ tools.look.to_code_prompt() | length > 9 }}", "look(place: str) -> str True"),
    ("{{ text.upper() }} {{ '{}-{}'.format(text, 1) }} {{ '%s' % text }} {{ text | title }}", "HI hi-1 hi Hi"),
    ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{% for i in [1, 2] %}{{ loop.index }}{% endfor %}", "<1>12"),
    ("{% set n = namespace(v=1) %}{% set n.v = 2 %}{{ n.v }} {{ range(2) | list }} {{ dict(a=1).items() | list }}",
     "2 [0, 1] [('a', 1)]"),
    ("{{ final_answer.title }}", "A title"),
]  # fmt: skip
ACTS = [
    "{{ tools.update(a=1) }}", "{{ tools.pop('look') }}", "{{ tools.look.inputs.clear() }}",
    "{{ tools.look('x') }}", "{{ tools.look.forward('x') }}", "{{ tools.look.from_code('import os') }}",
    "{{ tools['look'] | attr('from_dict') }}", "{{ '{0.forward}'.format(tools.look) }}", "{{ tools.look.save('/x') }}",
    "{% call tools.look('x') %}{% endcall %}", "{{ tools.look.to_code_prompt.__self__ }}", "{{ tools.look.__class__ }}",
    "{{ table.to_csv('/x') }}", "{{ table.to_csv }}", "{{ table.eval('a') }}", "{{ final_answer.publish() }}",
    "{{ final_answer('x') }}", "{{ [final_answer] | map('publish') | list }}", "{{ joiner.__init__.__globals__ }}",
]  # fmt: skip


class Report:
    title = "A title"

    def publish(self):
        raise AssertionError("a template may not do anything")

    __call__ = publish


@pytest.mark.parametrize(("template", "text"), SEEN, ids=range(len(SEEN)))
@pytest.mark.parametrize("whose", [str, ForeignTemplate])
def test_a_template_reads_what_is_data(whose, template, text):
    variables = {"tools": {"look": look}, "text": "hi", "final_answer": Report()}
    assert populate_template(whose(template), variables) == text


@pytest.mark.parametrize("template", ACTS)
def test_a_template_of_somebody_else_does_nothing(template):
    """It comes with a record; tools and answers are live objects."""
    variables = {"tools": {"look": look}, "table": pd.DataFrame({"a": [1]}), "final_answer": Report()}
    with pytest.raises(ConfigError, match="cannot render the prompt template"):
        populate_template(ForeignTemplate(template), variables)
    assert list(variables["tools"]) == ["look"] and "place" in look.inputs


def test_a_template_of_the_program_calls_what_it_is_given():
    given = {"now": date(2026, 1, 2), "louder": lambda text: f"{text}!", "table": pd.DataFrame({"a": [1]})}
    text = "{{ now.strftime('%Y') }} {{ louder('x') }} {{ table.to_string() | length }}"
    text += "{% set l = [] %}{{ l.append(1) or l }}"
    assert populate_template(text, given) == f"2026 x! {len(given['table'].to_string())}[1]"


@pytest.mark.parametrize("wrong", ["Be brief.", {"planning": "1. Go."}, {"final_answer": ["now"]}])
def test_templates_of_another_shape_are_refused(make, wrong):
    with pytest.raises(ConfigError, match="prompt_templates"):
        make([], prompt_templates=wrong)


@pytest.mark.parametrize(
    ("given", "near"),
    [({"system_promt": "Hi"}, "system_prompt"), ({"planning": {"initial_plam": "x"}}, "initial_plan")],
)
def test_a_name_that_is_misspelt_is_told(make, given, near):
    with pytest.raises(ConfigError, match=f"prompt_templates have '.*', which nothing here reads: .* '{near}'"):
        make([], prompt_templates=given)


def test_further_names_are_the_programs_own(make):
    given = {"critic": "Is it so?", "planning": {"initial_plan": "Plan!", "initial_facts": "Facts!"}}
    templates = make([], prompt_templates=given).prompt_templates
    assert (templates["critic"], templates["planning"]["initial_facts"]) == ("Is it so?", "Facts!")


def test_text_of_the_task_is_no_template(make):
    agent = make([call("final_answer", answer="{{ x }}")], kind=ToolCallingAgent, name="a", description="A.")
    agent.instructions = "{{ instructions }}"
    assert agent("{{ task }} {% if %}").endswith("{{ x }}")
    assert "{{ task }} {% if %}" in request(agent) and "{{ instructions }}" in request(agent)
    assert populate_template("{{ a }}", {"a": "{{ b }}"}) == "{{ b }}"


# -- the form of replies


@pytest.mark.parametrize(
    ("tags", "reply", "stops"),
    [
        (None, "<code>\nfinal_answer(1)\n</code>", ["</code>"]),
        ("markdown", "```python\nfinal_answer(1)\n```", ["```"]),
        (("[[", "]]"), "[[final_answer(1)]]", ["]]"]),
        (("[[", "]]"), "```python\nfinal_answer(1)\n```", ["]]"]),
        (("<<<", "<<<"), "<<<\nfinal_answer(1)\n<<<", []),
    ],
)
def test_the_tags_of_code(make, child, tags, reply, stops):
    agent = make([], model=Asked([f"I answer.\n{reply}"]), code_block_tags=tags, executor=child)
    assert agent.run("one", reset=False) == 1
    opening, closing = agent.code_block_tags
    assert f"{opening}\ncode\n{closing}" in agent.system_prompt
    asked = agent.model.options[0]["stop_sequences"]
    if tags != "markdown":  # its opening tag holds the closing one, which may not stop it
        assert asked == ["Observation:", "<end_code>", *stops]
    assert set(asked) & set(stops) <= {closing}


def test_replies_as_json(make, child):
    replies = [
        json.dumps({"thought": "I look.", "code": "x = 3"}),
        json.dumps({"thought": "No code."}),
        "Not JSON",
        json.dumps({"thought": "Done.", "code": "final_answer(x)"}),
    ]
    agent = make([], model=Asked(replies), use_structured_outputs_internally=True, executor=child)
    assert agent.run("three", reset=False) == 3
    schema = agent.model.options[0]["response_format"]["json_schema"]
    assert schema["schema"]["required"] == ["thought", "code"]
    assert "stop_sequences" not in agent.model.options[0]
    assert "JSON object" in agent.system_prompt and "<code>" not in agent.system_prompt
    assert "is no JSON object with the keys thought and code" in request(agent, 2)
    assert [step.code_action for step in agent.memory.steps[1:]] == ["x = 3", None, None, "final_answer(x)"]
    assert agent.memory.steps[1].model_output == replies[0]


def test_a_best_answer_of_an_agent_that_replies_in_json(make, child):
    replies = [json.dumps({"thought": "I look.", "code": "x = 3"}), "About three."]
    agent = make(replies, use_structured_outputs_internally=True, executor=child, max_steps=1)
    assert agent.run("three", reset=False) == "About three."


def test_a_model_of_the_users_own_gets_the_options_it_knows(make):
    class Plain(Model):
        def generate(self, messages, stop_sequences=None, tools_to_call_from=None, **kwargs):
            asked.append((stop_sequences, sorted(tool.name for tool in tools_to_call_from), kwargs))
            return call("final_answer", answer=1)

    asked = []
    assert make([], [look], model=Plain(), kind=ToolCallingAgent).run("one") == 1
    assert asked == [(["Observation:"], ["final_answer", "look"], {})]
