"""Agents as dicts and folders: round trips with real runs, no key ever written, and bad input named."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from model_server import ModelServer, Text

import smol_kernel
from smol_kernel import (
    AgentRecipe,
    ApiWebSearchTool,
    Budget,
    CodeAgent,
    FallbackModel,
    LiteLLMModel,
    MultiStepAgent,
    OpenAIModel,
    PythonInterpreterTool,
    ScriptedModel,
    Tool,
    ToolCallingAgent,
    UserInputTool,
    WikipediaSearchTool,
    tool,
)
from smol_kernel.errors import AgentExecutionError, ConfigError, ToolError
from smol_kernel.memory.steps import ActionStep
from smol_kernel.render.tree import agent_tree


@tool
def add(a: int, b: int) -> int:
    """Adds.

    Args:
        a: First.
        b: Second.
    """
    return a + b


class Greeter(Tool):
    name = "greeter"
    description = "Greets."
    inputs = {"who": {"type": "string", "description": "Whom."}}  # noqa: RUF012
    output_type = "string"

    def __init__(self, api_key: str | None = None) -> None:
        super().__init__()
        self.api_key = api_key

    def forward(self, who: str) -> str:
        """A greeting."""
        return f"hi {who}"


class Kind(Tool):
    name = "kind"
    description = "Tells what it was made with."
    inputs = {}  # noqa: RUF012
    output_type = "string"

    def __init__(self, place="public", most=3):
        self.place, self.most = place, most

    def forward(self):
        return f"{self.place} {self.most}"


def code(text: str) -> str:
    return f"Now.\n<code>\n{text}\n</code>"


def call(name: str, **arguments: object) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def model() -> OpenAIModel:
    return OpenAIModel("some-model", api_base="http://127.0.0.1:9/v1", temperature=0.5)


def boss(**options) -> CodeAgent:
    greeting = ToolCallingAgent([Greeter()], model(), name="helper", description="Greets people.", max_steps=3)
    last = ToolCallingAgent([], model(), name="last", description="Has the last word.")
    settings = {
        "tools": [add, UserInputTool(), ApiWebSearchTool(endpoint="http://127.0.0.1:9/", rate_limit=None)],
        "model": model(),
        "managed_agents": [greeting],
        "handoffs": [last],
        "name": "boss",
        "description": "Leads.",
        "instructions": "Be brief: äöü.\n  Always.",
        "max_steps": 7,
        "verbosity_level": -1,
        "planning_interval": 4,
        "additional_authorized_imports": ["json", "email.*"],
        "executor_kwargs": {"timeout_seconds": 20},
        "code_block_tags": "markdown",
        "max_print_outputs_length": 5000,
        "stream_outputs": True,
        "provide_run_summary": True,
        "budget": Budget(steps=9, cost=1.5),
        "checks": ["answer > 0"],
        "journal": False,
    }
    return CodeAgent(**{**settings, **options})


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


def test_a_dict_has_the_keys_of_smolagents_and_ours():
    data = boss().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["class"] == "CodeAgent"
    assert data["model"] == {
        "class": "OpenAIModel",
        "data": {"temperature": 0.5, "model_id": "some-model", "api_base": "http://127.0.0.1:9/v1"},
    }
    assert [list(each) for each in data["tools"]] == [["name", "code", "requirements"]] * 4
    assert [other["name"] for other in data["managed_agents"]] == ["helper"]
    assert data["managed_agents"][0]["class"] == "ToolCallingAgent"
    assert data["prompt_templates"].keys() == {"system_prompt", "planning", "managed_agent", "final_answer"}
    assert {"json", "email.*", "math"} <= set(data["authorized_imports"])
    assert data["requirements"] == ["smol-kernel[tools]"]
    expected = {
        "max_steps": 7,
        "verbosity_level": -1,
        "planning_interval": 4,
        "name": "boss",
        "description": "Leads.",
        "executor_type": "local",
        "executor_kwargs": {"timeout_seconds": 20},
        "max_print_outputs_length": 5000,
        "code_block_tags": ["```python", "```"],
        "instructions": "Be brief: äöü.\n  Always.",
        "checks": ["answer > 0"],
        "provide_run_summary": True,
        "stream_outputs": True,
        "journal": False,
    }
    assert {name: data[name] for name in expected} == expected
    assert "left_out" not in data


def test_a_dict_and_a_folder_make_the_same_agent_again(tmp_path):
    agent = boss()
    data = agent.to_dict()
    agent.save(tmp_path / "saved")
    for again in (MultiStepAgent.from_dict(data), CodeAgent.from_folder(tmp_path / "saved")):
        assert type(again) is CodeAgent
        assert again.to_dict() == data
        assert again.system_prompt == agent.system_prompt
        assert again.budget == agent.budget
        assert isinstance(again.tools["web_search"], ApiWebSearchTool)
        assert again.tools["web_search"].rate_limit is None
        assert type(again.handoffs["last"]) is ToolCallingAgent


def test_the_folder_is_laid_out_as_that_of_smolagents(tmp_path):
    boss().save(tmp_path)
    files = written(tmp_path)
    inner = ["__init__.py", "agent.json", "app.py", "prompts.yaml", "requirements.txt"]
    helper = [f"managed_agents/helper/{name}" for name in [*inner, *(f"tools/{n}.py" for n in ("greeter", "__init__"))]]
    expected = {*inner, "managed_agents/__init__.py", "tools/__init__.py", "tools/add.py", *helper}
    assert expected <= files.keys()
    assert not [name for name in files if "saving" in name]
    settings = json.loads(files["agent.json"])
    assert settings["tools"] == ["add", "user_input", "web_search", "final_answer"]
    assert settings["managed_agents"] == {"helper": "ToolCallingAgent"}
    assert yaml.safe_load(files["prompts.yaml"]) == settings["prompt_templates"]
    assert files["requirements.txt"] == "smol-kernel[tools]\n"


def test_a_tool_is_loaded_with_what_it_was_made_with(tmp_path):
    CodeAgent([Kind("private", 50)], model()).save(tmp_path)
    assert CodeAgent.from_folder(tmp_path).tools["kind"]() == "private 50"
    with pytest.warns(UserWarning, match=r"written without tools .*: place of 'kind'\)\. Pass tools= to"):
        CodeAgent([Kind(object(), 50)], model()).save(tmp_path)
    with pytest.warns(UserWarning, match="saved without tools: pass tools="):
        assert CodeAgent.from_folder(tmp_path).tools["kind"]() == "public 50"


def test_a_loaded_team_works(tmp_path):
    script = ["First, a plan.", code("final_answer(helper('greet Ada') + f' {add(2, 3)}')")]
    ask = [call("greeter", who="Ada"), call("final_answer", answer="greeted")]
    boss(checks=[], code_block_tags=None, budget=None).save(tmp_path)
    helper = ToolCallingAgent.from_folder(tmp_path / "managed_agents" / "helper", model=ScriptedModel(ask))
    with CodeAgent.from_folder(tmp_path, model=ScriptedModel(script), managed_agents=[helper]) as agent:
        answer = agent.run("greet, then add")
    assert "greeted" in answer
    assert answer.endswith(" 5")
    assert helper.memory.steps[1].observations == "hi Ada"


def test_keywords_take_the_place_of_what_is_written():
    data = boss().to_dict()
    other = ScriptedModel([])
    agent = CodeAgent.from_dict(data, model=other, max_steps=2, tools=[], additional_authorized_imports=None)
    assert (agent.model, agent.max_steps, list(agent.tools)) == (other, 2, ["final_answer"])
    assert agent.authorized_imports == ["*"]
    helper = agent.managed_agents["helper"]
    assert helper.max_steps == 3
    assert helper.model.model_id == "some-model"


def test_what_is_not_set_is_written_and_read_as_not_set():
    agent = CodeAgent([], FallbackModel([model(), model()]))
    data = agent.to_dict()
    assert data["authorized_imports"] == ["*"]
    again = CodeAgent.from_dict(data)
    assert again.to_dict() == data
    assert again.authorized_imports == ["*"]
    assert [each.model_id for each in again.model.models] == ["some-model"] * 2


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_no_parameter_of_an_agent_is_forgotten(kind):
    parameters = {name for cls in kind.__mro__[:-2] for name in inspect.signature(cls.__init__).parameters}
    never = {"step_callbacks", "final_answer_checks", "output_type", "logger", "executor"}  # left out, with a warning
    within_tools = {"add_base_tools"}
    other_name = {"additional_authorized_imports"}
    data = kind([], model()).to_dict()
    assert parameters - {"self", "args", "kwargs"} - never - within_tools - other_name <= data.keys()


def test_the_packages_of_authorized_imports_are_required():
    agent = CodeAgent([add], model(), additional_authorized_imports=["PIL.*", "json", "*"])
    assert agent.to_dict()["requirements"] == ["pillow", "smol-kernel"]


def test_the_tree_shows_agents_it_calls_and_hands_over_to():
    lines = agent_tree(boss()).splitlines()
    assert lines[0] == "boss: CodeAgent · some-model — Leads."
    assert "├─ helper: ToolCallingAgent · some-model — Greets people." in lines
    assert "│  ├─ greeter(who: str) -> str — Greets." in lines
    assert "└─ hands over to last: ToolCallingAgent · some-model — Has the last word." in lines


class Reviewer(CodeAgent):
    """A user's own class."""


def test_a_subclass_is_made_by_its_own_class(tmp_path):
    Reviewer([add], model(), name="reviewer", description="Reviews.").save(tmp_path)
    assert type(Reviewer.from_folder(tmp_path)) is Reviewer
    with pytest.raises(ConfigError, match="'reviewer' is of the class 'Reviewer', which is none of"):
        CodeAgent.from_folder(tmp_path)
    assert "use Reviewer in place of" in (tmp_path / "app.py").read_text()
    plain = CodeAgent([], model()).to_dict()
    assert type(Reviewer.from_dict(plain)) is Reviewer
    assert type(ToolCallingAgent.from_dict(plain)) is CodeAgent


# -- what cannot be written


def positive(answer):
    return answer > 0


def test_a_callback_that_was_registered_later_is_left_out_and_said_too():
    agent = CodeAgent([], model())
    agent.step_callbacks.register(ActionStep, print)
    with pytest.warns(UserWarning, match=r"is written without step_callbacks \(functions\)"):
        agent.to_dict()


def test_what_is_left_out_is_said_when_saving_and_when_loading(tmp_path):
    lending = ToolCallingAgent([], ScriptedModel([]), name="lender", description="Lends.", journal=tmp_path / "j")
    agent = CodeAgent(
        [],
        model(),
        step_callbacks=[print],
        checks=["answer > 0", positive],
        output_type=int,
        managed_agents=[lending, AgentRecipe("maker", "Made.", make=lambda: lending)],
        executor_kwargs={"timeout_seconds": 9, "additional_functions": {"now": print}},
    )
    with pytest.warns(UserWarning, match="is written without") as told:
        agent.save(tmp_path / "saved")
    first, second = (str(each.message) for each in told)
    for part in ("step_callbacks (functions)", "checks (functions: positive)", "output_type", "AgentRecipe 'maker'"):
        assert part in first
    assert "Pass step_callbacks=, checks=, output_type=, managed_agents=, executor_kwargs= to" in first
    assert "agent 'lender' is written without journal (a place on this machine), model (ScriptedModel)" in second
    assert {each.filename for each in told} == {__file__}

    with pytest.raises(ConfigError, match=r"agent 'lender': its model cannot be made again \(pass model=\)"):
        CodeAgent.from_folder(tmp_path / "saved")
    other = ScriptedModel([code("final_answer(-1)"), code("final_answer(1)")])
    with pytest.warns(UserWarning, match="saved without") as told:
        again = CodeAgent.from_folder(tmp_path / "saved", model=other, step_callbacks=None, output_type=int)
    assert "saved without checks, managed_agents, executor_kwargs: pass checks=, " in str(told[-1].message)
    assert again.checks == ["answer > 0"]
    assert again.executor_kwargs["timeout_seconds"] == 9
    assert again.managed_agents["lender"].model is other
    with again:
        assert again.run("count", max_steps=3) == 1


def test_agents_that_hand_over_to_each_other_are_written_once():
    first = CodeAgent([], model(), name="first", description="First.")
    second = CodeAgent([], model(), name="second", description="Second.", handoffs=[first])
    first.handoffs["second"] = second
    with pytest.warns(UserWarning, match="'second' is written without handoffs"):
        data = first.to_dict()
    assert [other["name"] for other in data["handoffs"]] == ["second"]
    assert data["handoffs"][0]["handoffs"] == []


class Needy(Greeter):
    def __init__(self, connection: object) -> None:
        super().__init__()
        self.connection = connection


def test_a_tool_that_cannot_be_written_keeps_everything_from_being_written(tmp_path):
    helper = ToolCallingAgent([Needy(object())], model(), name="helper", description="Helps.")
    agent = CodeAgent([add], model(), managed_agents=[helper])
    with pytest.raises(ToolError, match=r"agent 'helper' cannot be written: tool 'greeter' .*'connection'"):
        agent.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_other_files_of_the_folder_stay_and_saving_again_replaces(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "__init__.py").write_text("x = 1\n")
    CodeAgent([add], model(), max_steps=3).save(tmp_path)
    CodeAgent([Greeter()], model(), max_steps=4).save(str(tmp_path), relative_path="a.b")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "__init__.py").read_text() == "x = 1\n"
    again = CodeAgent.from_folder(str(tmp_path))
    assert list(again.tools) == ["greeter", "final_answer"]
    assert again.max_steps == 4


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the CodeAgent cannot be written to .*file"):
        CodeAgent([], model()).save(tmp_path / "file" / "below")


# -- keys


def test_keys_are_never_written(tmp_path, monkeypatch):
    planted = [f"sk-planted-{number}-abcdef" for number in range(7)]
    monkeypatch.setenv("PLANTED_API_KEY", planted[0])
    monkeypatch.setenv("BRAVE_API_KEY", planted[1])
    keyed = LiteLLMModel(
        "openai/x",
        api_base=f"http://user:{planted[2]}@127.0.0.1:9/v1",
        api_key=planted[3],
        extra_headers={"Authorization": f"Bearer {planted[4]}"},
    )
    helper = ToolCallingAgent([Greeter(api_key=planted[5])], keyed, name="helper", description="Helps.")
    agent = CodeAgent(
        [Greeter(api_key=planted[5]), ApiWebSearchTool(headers={"X": planted[6]})],
        [keyed, model()],
        managed_agents=[helper],
    )
    with pytest.warns(UserWarning, match="is written without tools") as told:
        agent.save(tmp_path)
    with pytest.warns(UserWarning, match="is written without tools"):
        data = agent.to_dict()
    assert "tools (what was given to their constructors: api_key of 'greeter')" in str(told[0].message)
    for text in [*written(tmp_path).values(), json.dumps(data)]:
        assert not [key for key in planted if key in text]
    assert "127.0.0.1:9" in (tmp_path / "agent.json").read_text()


KEY = "q8Zr2LxV0pT7mN4cB1wY"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("params", {"k": KEY}),
        ("params", {"count": 20, "cx": [KEY]}),
        ("params", {KEY: 1}),
        ("endpoint", f"https://api.example.org/{KEY}/search"),
        ("endpoint", f"https://api.example.org/search?u={KEY}"),
        ("endpoint", f"https://me:{KEY}@api.example.org/search"),
    ],
)
def test_a_key_under_a_plain_name_is_not_written_for_a_tool_of_ours(tmp_path, monkeypatch, name, value):
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    agent = CodeAgent([ApiWebSearchTool(rate_limit=2.0, **{name: value})], model())
    with pytest.warns(UserWarning, match=rf"written without tools .*: {name} of 'web_search'\)"):
        agent.save(tmp_path)
    assert not [text for text in written(tmp_path).values() if KEY in text]
    with pytest.warns(UserWarning, match="saved without tools: pass tools="):
        tool = CodeAgent.from_folder(tmp_path).tools["web_search"]
    assert tool.rate_limit == 2.0 and getattr(tool, name) == getattr(ApiWebSearchTool(), name)


def test_what_is_no_key_is_written_for_a_tool_of_ours(tmp_path):
    given = {"endpoint": "https://api.example.org/v1/search?lang=en", "params": {"count": 20, "safe": "off"}}
    wikipedia = {"user_agent": "Trees/1.0 (ada@example.org)", "language": "de", "extract_format": "HTML"}
    CodeAgent([ApiWebSearchTool(**given), WikipediaSearchTool(**wikipedia)], model()).save(tmp_path)
    tools = CodeAgent.from_folder(tmp_path).tools
    assert {name: getattr(tools["web_search"], name) for name in given} == given
    assert {name: getattr(tools["wikipedia_search"], name) for name in wikipedia} == wikipedia


def test_an_interpreter_that_is_loaded_may_import_no_more_than_it_might(tmp_path):
    modules = ["h5py", "cv2", "tf2onnx", "secrets", "tokenize", "PIL.Image", "sklearn.*"]
    for extra in ([], [KEY]):
        made = PythonInterpreterTool(authorized_imports=[*modules, *extra])
        agent = ToolCallingAgent([made], model())
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            agent.save(tmp_path / str(len(extra)))
            again = ToolCallingAgent.from_folder(tmp_path / str(len(extra)))
        assert again.tools["python_interpreter"].authorized_imports == modules
        named = "authorized_imports of 'python_interpreter'"
        assert [named in str(each.message) for each in told] == [True, False][: 2 * len(extra)]
    tool = again.tools["python_interpreter"]
    with pytest.raises(AgentExecutionError, match="subprocess"):
        tool("import subprocess")
    tool.cleanup()
    none = ToolCallingAgent.from_dict(
        ToolCallingAgent([PythonInterpreterTool(authorized_imports=[])], model()).to_dict()
    )
    assert none.tools["python_interpreter"].authorized_imports == []


SEARCHES = [
    {"endpoint": "https://search-prod-eu1.k8s.example.net:8443/v1beta1/search"},
    {"params": {"sort_key": "date"}},
    {"endpoint": "http://localhost:8888/search", "api_key": "search"},
]


@pytest.mark.parametrize("given", SEARCHES)
def test_what_only_looks_a_little_like_a_key_is_written_for_a_tool_of_ours(tmp_path, monkeypatch, given):
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    name = next(iter(given))
    agent = "ResearchBot (alice1984b2@gmail.com)"
    CodeAgent([ApiWebSearchTool(**given), WikipediaSearchTool(user_agent=agent)], model()).save(tmp_path)
    monkeypatch.setenv("BRAVE_API_KEY", "none")
    tools = CodeAgent.from_folder(tmp_path).tools
    assert (getattr(tools["web_search"], name), tools["wikipedia_search"].user_agent) == (given[name], agent)


SECRET_SETTINGS = [
    "api_key",
    "aws_secret_access_key",
    "oci_key",
    "private_key",
    "passphrase",
    "bearer",
    "jwt",
    "auth",
    "extra_headers",
    "authorization",
    "cookie",
    "hf_token",
    "token",
    "azure_ad_token",
    "azure_ad_token_provider",
    "vertex_credentials",
    "passwd",
    "pwd",
    "pat",
    "dsn",
    "connection_string",
    "signature",
    "webhook_url",
    "proxy-authorization",
    "accessToken",
    "token1",
    "HFTOKEN",
    "github_token_rw",
]
OPEN_SETTINGS = [
    "max_tokens",
    "max_completion_tokens",
    "budget_tokens",
    "input_cost_per_token",
    "stop_token_ids",
    "prompt_cache_key",
    "temperature",
    "tool_name_key",
    "tool_arguments_key",
    "api_key_name",
    "model_id",
    "author",
    "session_id",
    "eos_token_id",
    "keywords",
    "seed",
]


def test_what_a_setting_is_called_tells_whether_it_is_written_down():
    settings = {name: f"b4Dc1-{number}-zQ7" for number, name in enumerate(SECRET_SETTINGS + OPEN_SETTINGS)}
    given = {name: value for name, value in settings.items() if name not in ("api_key", "model_id")}
    made = LiteLLMModel("openai/x", api_key=settings["api_key"], **given)
    assert made.to_dict().keys() == {*OPEN_SETTINGS}
    agent = CodeAgent([], made)
    data = json.dumps(agent.to_dict())
    assert [name for name in SECRET_SETTINGS if settings[name] in data] == []


class Sorted(Tool):
    name = "sorted_rows"
    description = "Sorts by created_at."
    inputs = {}  # noqa: RUF012
    output_type = "string"
    sort_key = "created_at"
    csv_header = "name,city,population"
    signature = "Best regards, Alexander"

    def forward(self):
        return "name,city,population"


def test_words_that_are_named_like_keys_are_no_secrets(monkeypatch):
    monkeypatch.setenv("PWD", os.getcwd())
    agent = CodeAgent([Sorted()], model(), instructions=f"For Alexander; see {os.getcwd()}/data1.csv")
    assert "created_at" in json.dumps(agent.to_dict())


def test_the_names_of_a_schema_s_properties_are_kept():
    properties = {name: {"type": "string"} for name in ("header", "primary_key", "token")}
    schema = {"type": "json_schema", "json_schema": {"name": "r", "schema": {"properties": properties}}}
    assert LiteLLMModel("openai/x", response_format=schema).to_dict()["response_format"] == schema


def test_options_of_an_executor_lose_their_keys_with_a_warning():
    agent = CodeAgent([], model())
    agent.executor_kwargs = {"timeout_seconds": 5, "api_key": "e2b-1234567", "environment": {"HF_TOKEN": "hf-1234567"}}
    with pytest.warns(UserWarning, match=r"without executor_kwargs \(api_key, environment\)"):
        data = agent.to_dict()
    assert data["executor_kwargs"] == {"timeout_seconds": 5, "environment": {}}


class Careless(Tool):
    name = "careless"
    description = "Has its key in its source."
    inputs = {}  # noqa: RUF012
    output_type = "string"
    api_key = "sk-careless-123"

    def forward(self) -> str:
        """Nothing."""
        return self.api_key


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CodeAgent([Careless()], model()), "tools of 'careless'.code holds the value of api_key of the tool"),
        (
            lambda: CodeAgent(
                [], LiteLLMModel("openai/x", api_key="sk-model-1234"), instructions="It is sk-model-1234."
            ),
            r"instructions holds the value of api_key of the model LiteLLMModel\('openai/x'\)",
        ),
        (
            lambda: CodeAgent([], model(), instructions="It is sk-env-1234."),
            "instructions holds the value of the environment variable PLANTED_TOKEN",
        ),
    ],
)
def test_a_key_that_stands_in_a_text_is_refused(make, said, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "sk-env-1234")
    agent = make()
    with pytest.raises(ConfigError, match=said) as refused:
        agent.save(tmp_path / "saved")
    assert "1234" not in str(refused.value)
    assert not (tmp_path / "saved").exists()


def test_the_prompts_are_those_of_the_yaml_file(tmp_path):
    agent = CodeAgent([], model(), prompt_templates={"system_prompt": "Be quick."})
    agent.save(tmp_path)
    (tmp_path / "prompts.yaml").write_text("system_prompt: Be slow.\n")
    again = CodeAgent.from_folder(tmp_path)
    assert again.system_prompt == "Be slow."
    assert again.prompt_templates["planning"] == agent.prompt_templates["planning"]
    (tmp_path / "prompts.yaml").unlink()
    assert CodeAgent.from_folder(tmp_path).system_prompt == "Be quick."


# -- bad input


def edited(folder: Path, **changes) -> None:
    place = folder / "agent.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda f: (f / "agent.json").unlink(), ConfigError, "there is no .*agent.json': this is no folder of a saved"),
        (lambda f: (f / "agent.json").write_text("{'a': 1}"), ConfigError, "agent.json' is no JSON"),
        (lambda f: (f / "agent.json").write_text("[1]"), ConfigError, r"holds no agent: .* not \[1\]"),
        (lambda f: (f / "agent.json").write_bytes(b"\xff"), ConfigError, "agent.json' cannot be read"),
        (lambda f: (f / "prompts.yaml").write_text("a: [1"), ConfigError, "prompts.yaml' is no YAML"),
        (lambda f: (f / "prompts.yaml").write_text("text"), ConfigError, "prompt templates by their names, not 'text'"),
        (lambda f: (f / "prompts.yaml").write_text("planning: x"), ConfigError, "'planning' is 'x', not texts by the"),
        (lambda f: (f / "tools" / "add.py").unlink(), ConfigError, "add.py': agent.json names the tool 'add'"),
        (lambda f: (f / "tools" / "add.py").write_text("import no_such"), ToolError, "tool 'add' cannot .*no_such"),
        (lambda f: (f / "tools" / "add.py").write_text("def ("), ToolError, "tool 'add' cannot be made: SyntaxError"),
        (lambda f: edited(f, tools=["../add"]), ConfigError, "'../add' cannot be the name of a file"),
        (lambda f: edited(f, tools="add"), ConfigError, "tools has to hold names, not 'add'"),
        (
            lambda f: edited(f, managed_agents={"gone": "CodeAgent"}),
            ConfigError,
            "^there is no .*gone/agent.json': this is no f",
        ),
        (lambda f: edited(f, **{"class": "Agent"}), ConfigError, "class 'Agent', which is none of CodeAgent, "),
        (lambda f: edited(f, format_version=2), ConfigError, "newer version of smol-kernel .format 2; this one reads"),
        (lambda f: edited(f, format_version="x"), ConfigError, "the format_version 'x'"),
        (lambda f: edited(f, max_steps="many"), ConfigError, "agent 'solo': max_steps is 'many', not int"),
        (lambda f: edited(f, budget={"stps": 3}), ConfigError, "budget .* does not fit"),
        (lambda f: edited(f, authorized_imports=[3]), ConfigError, r"authorized_imports .* not \[3\]"),
        (lambda f: edited(f, executor_type="e2b"), ConfigError, "executor_type 'e2b' is not built yet"),
        (
            lambda f: edited(f, executor_type="dcoker"),
            ConfigError,
            "executor_type 'dcoker' does not exist; use \"local\"",
        ),
        (lambda f: edited(f, model={"class": "Mine", "data": {}}), ConfigError, r"\(pass model=\): .*'Mine'"),
        (lambda f: edited(f, model=None), ConfigError, "agent 'solo' was written without a model: pass model="),
    ],
)
def test_a_spoilt_folder_is_refused_with_what_is_wrong(tmp_path, spoil, error, said):
    CodeAgent([add], model(), name="solo", description="Alone.").save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=said):
        CodeAgent.from_folder(tmp_path)


def test_a_key_nobody_knows_is_told_and_left_aside():
    data = CodeAgent([], model()).to_dict()
    with pytest.warns(UserWarning, match="nothing is known of 'max_step'"):
        assert CodeAgent.from_dict({**data, "max_step": 3}).max_steps == 20
    with pytest.raises(ConfigError, match=r"made from a dict, as to_dict\(\) gives it, not from 'agent.json'"):
        CodeAgent.from_dict("agent.json")


def test_the_app_runs_the_agent_from_the_command_line(tmp_path):
    with ModelServer(Text(code("final_answer(add(20, 22))"))) as server:
        CodeAgent([add], LiteLLMModel("openai/double", api_base=server.url), verbosity_level=-1).save(tmp_path / "it")
        root = str(Path(smol_kernel.__file__).parent.parent)
        environment = {**os.environ, "PYTHONPATH": root, "OPENAI_API_KEY": "none-1234"}
        command = [sys.executable, str(tmp_path / "it" / "app.py"), "compute", "it"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "42"
        assert "compute it" in json.dumps(server.requests[0].body)
