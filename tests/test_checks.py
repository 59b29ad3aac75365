"""When it runs but is wrong: checks of the answer, the type it has to have, and agents that go in circles."""

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType, Tuple  # noqa: UP035

import numpy as np
import pandas
import pydantic
import pytest
from numpy.typing import NDArray
from PIL import Image
from scripted_replies import call, code, of, request

from smol_kernel import CodeAgent, ToolCallingAgent, tool
from smol_kernel.errors import AgentError, ConfigError
from smol_kernel.events import Checked, FinalAnswer, Notice, Output, StepFinished
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.journal import Journal
from smol_kernel.tools.answer_type import AnswerType


@pytest.fixture(scope="module")
def child():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


@pytest.fixture
def coder(make, child):
    """Makes CodeAgents that share a child; each run of the function returned keeps its namespace."""

    def coder(replies, **options):
        return make(replies, executor=child, **options)

    return coder


def answers(*texts):
    return [code(f"final_answer({text})") for text in texts]


def run(agent, **options):
    """All events of a run, in the child there is."""
    return list(agent.events("solve", reset=False, **options))


def caller(make, *given, **options):
    """A ToolCallingAgent that gives these answers."""
    return make([call("final_answer", answer=answer) for answer in given], kind=ToolCallingAgent, **options)


# -- expressions


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        ("abs(answer) < 1", "2.5", "0.5"),
        ("answer.shape == (3, 2)", "np.ones((2, 2))", "np.ones((3, 2))"),
        ("len(answer) > 1 and answer.columns[0] == 'a'", "pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1, 2]})"),
        ("answer is table", "pd.DataFrame({'a': [1]})", "table"),
        ("answer == limit", "limit - 1", "limit"),
    ],
)
def test_an_expression_sees_the_live_value(coder, check, wrong, right):
    setup = "import numpy as np, pandas as pd\nlimit = 7\ntable = pd.DataFrame({'a': [1]})\n"
    agent = coder([code(f"{setup}final_answer({wrong})"), *answers(right)], checks=[check])
    events = run(agent)
    assert [(event.check, event.ok) for event in of(Checked, events)] == [(check, False), (check, True)]
    assert events[-1].state == "success"
    assert f"The answer was not accepted. {check}: " in request(agent)
    assert len(of(FinalAnswer, events)) == 1


def test_a_check_leaves_nothing_behind_and_can_fail_in_any_way(coder):
    checks = ["(answer := 3) and print('looked')", "answer.nothing", "answer[0]"]
    agent = coder([*answers(1, 2), code("final_answer([answer if 'answer' in globals() else 4])")], checks=checks[1:2])
    agent.max_steps = 2
    agent.model.replies = [*answers(1, 2), "None."]
    events = run(agent)
    assert all("AttributeError" in event.reason for event in of(Checked, events))
    agent = coder([code("final_answer([4])"), code("final_answer('answer' in globals() or [5])")], checks=checks[2:])
    agent.run("look", reset=False)
    agent.run("look", reset=False)
    assert agent.answer == [5]


def test_what_a_check_prints_is_an_output_of_the_step(coder):
    events = run(coder(answers(1), checks=["print('seen', answer) is None"]))
    assert [event.text for event in of(Output, events)] == ["seen 1\n"]


def test_the_first_check_that_fails_is_the_reason(coder):
    agent = coder(answers(5, 15), checks=["answer > 10", "answer < 0", lambda answer: "never asked"], max_steps=1)
    agent.model.replies[1] = "Fifteen."
    events = run(agent)
    assert [event.check for event in of(Checked, events)] == ["answer > 10"]


def test_a_check_that_hangs_is_ended_by_a_stop(coder):
    agent = coder(answers(1), checks=["print('on', flush=True) or [None for _ in iter(int, 1)]"])
    events = []
    for event in agent.events("hang", reset=False):
        events.append(event)
        if isinstance(event, Output):
            agent.interrupt()
    assert (events[-1].state, of(Checked, events)[0].ok) == ("interrupted", False)
    assert not of(FinalAnswer, events)


@pytest.mark.parametrize("wrong", ["answer >", "x = 1", "answer\0", 3, None])
def test_what_is_no_check_is_refused(make, wrong):
    with pytest.raises(ConfigError, match="is not a function of the answer, or a Python expression"):
        make([], checks=[wrong])
    with pytest.raises(ConfigError, match=r"is not a function of the answer$"):
        make([], kind=ToolCallingAgent, checks=[wrong])


def test_space_around_an_expression_does_not_matter(make):
    assert make([], checks=[" answer > 10\n"]).checks == [" answer > 10\n"]


def test_one_check_needs_no_list(make):
    assert make([], checks="answer > 10").checks == ["answer > 10"]
    assert make([], final_answer_checks=bool).final_answer_checks == [bool]


def test_an_agent_without_a_child_takes_no_expression(make):
    with pytest.raises(ConfigError, match="answer > 1"):
        make([], kind=ToolCallingAgent, checks=["answer > 1"])


# -- functions


def with_answer(answer):
    return answer == 2


def with_memory(answer, memory):
    return answer == 2 and len(memory.steps) == 2


def with_agent(answer, memory, agent):
    return answer == 2 and agent.memory is memory


def with_agent_by_name(answer, memory, *, agent=None):
    return answer == 2 and agent is not None


def with_all(*given, **named):
    return given[0] == 2 and len(given) == 2 and "agent" in named


async def with_waiting(answer):
    return answer == 2


class AsObject:
    def __call__(self, answer):
        return answer == 2


@pytest.mark.parametrize("parameter", ["checks", "final_answer_checks"])
@pytest.mark.parametrize(
    "check", [with_answer, with_memory, with_agent, with_agent_by_name, with_all, with_waiting, AsObject()]
)
def test_a_function_takes_what_it_names(make, check, parameter):
    agent = caller(make, 1, 2, **{parameter: [check]})
    assert agent.run("two") == 2
    assert f"{getattr(check, '__name__', 'AsObject')}: it is not fulfilled" in request(agent)


def says(answer):
    return "" if answer == 2 else "too small"


def asserts(answer):
    if answer != 2:
        raise AssertionError("too small")


def raises(answer):
    if answer != 2:
        raise KeyError


@pytest.mark.parametrize(("check", "reason"), [(says, "too small"), (asserts, "too small"), (raises, "KeyError")])
def test_a_function_says_why(make, check, reason):
    agent = caller(make, 1, 2, final_answer_checks=[check])
    events = list(agent.events("two"))
    assert [event.reason for event in of(Checked, events)] == [reason, ""]
    assert reason in of(StepFinished, events)[0].error
    assert reason in request(agent)


def test_a_function_in_python_sees_what_crossed(coder):
    seen = []
    agent = coder([code("import pandas as pd\nfinal_answer(pd.DataFrame({'a': [1, 2]}))")], checks=[seen.append])
    assert run(agent)[-1].state == "success"
    assert list(seen[0]["a"]) == [1, 2]


def test_with_refused_answers_only_the_last_words_or_the_best_answer_count(make):
    agent = caller(make, 1, 3, checks=[says], max_steps=2)
    agent.model.replies.append("About two.")
    result = agent.run("two", return_full_result=True)
    assert (result.output, result.state) == ("About two.", "max_steps_error")
    agent = caller(make, 1, 3, checks=[says], max_steps=2)
    result = agent.run("two", return_full_result=True)
    assert (result.output, result.state) == (3, "max_steps_error")


def test_a_refused_table_is_the_best_answer_where_the_last_words_are_empty(coder):
    refused = code("import pandas as pd\nfinal_answer(pd.DataFrame({'a': [1, 2]}))")
    agent = coder([refused, " "], checks=["len(answer) > 2"], max_steps=1)
    assert list(agent.run("solve", reset=False)["a"]) == [1, 2]


def test_what_was_checked_is_in_the_journal(make, tmp_path):
    agent = caller(make, 1, 2, checks=[says])
    agent.run("two")
    stored = of(Checked, Journal(tmp_path / "journal.sqlite").events(agent.run_id))
    assert [(event.check, event.ok, event.step) for event in stored] == [("says", False, 1), ("says", True, 2)]


# -- the type of the answer


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class City(pydantic.BaseModel):
    name: str
    people: int


@pytest.mark.parametrize(
    ("kind", "wrong", "right", "value", "words"),
    [
        (float, "'much'", "'2.5'", 2.5, "float"),
        (list[int], "[1, 'b']", "(1, 2)", [1, 2], "list[int]"),
        (Literal["yes", "no"], "'perhaps'", "'no'", "no", "'yes', 'no'"),
        (Point, "{'y': 1}", "{'x': 1}", Point(1), "Point"),
        (City, "{'name': 'Ulm'}", "{'name': 'Ulm', 'people': 128_928}", City(name="Ulm", people=128_928), "City"),
        (int | None, "'x'", "None", None, "int"),
    ],
)
def test_an_answer_is_made_to_fit_or_sent_back(coder, kind, wrong, right, value, words):
    agent = coder(answers(wrong, right), output_type=kind)
    assert agent.run("solve", reset=False) == value
    assert words in agent.system_prompt
    assert "The answer has to be" in request(agent)


def test_values_that_know_no_schema_have_a_type_as_well(coder):
    table = "import pandas as pd\nfinal_answer(pd.DataFrame({'a': [1]}))"
    agent = coder([*answers("[1]"), code(table)], output_type=pandas.DataFrame)
    assert list(agent.run("solve", reset=False)["a"]) == [1]
    assert "DataFrame" in agent.system_prompt
    picture = "from PIL import Image\nfinal_answer(Image.new('RGB', (2, 3)))"
    agent = coder([*answers("'a picture'"), code(picture)], output_type=Image.Image)
    assert agent.run("solve", reset=False).to_raw().size == (2, 3)


class Place:
    """A class that pydantic does not know."""


class Deferred(pydantic.BaseModel, defer_build=True):
    name: str


class Later(pydantic.BaseModel):
    when: "NotYet"  # noqa: F821 - there is none


@pytest.mark.parametrize(
    "kind",
    [[int], (int, str), 5, len, {"a": int}, list[5], dict[str, any], "wibble", "list[wibble]", "list[int", "", Later],
)
def test_what_is_no_type_is_refused_before_a_model_is_asked(make, kind):
    said = f"output_type {re.escape(repr(kind))} is no type .* Give a type such as int"
    with pytest.raises(ConfigError, match=said):
        make(answers("1"), output_type=kind)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("int | None", None),
        (Annotated[list[int], "x"], [1]),
        (tuple[int, ...], (1, 2)),
        (tuple[()], ()),
        (Tuple[()], ()),  # noqa: UP006 - other in Python 3.10
        (dict[str, Any], {"a": 1}),
        (Callable[[int], int], abs),
        (NDArray[np.float64], np.ones(1)),
        (Deferred, Deferred(name="Ulm")),
        (NewType("Where", Place) | None, Place()),
    ],
)
def test_unusual_types_serve_as_well(kind, answer):
    assert AnswerType(kind).convert(answer) == answer


def test_the_model_reads_where_the_answer_does_not_fit(make):
    agent = caller(make, {"name": "Ulm", "people": "many"}, {"name": "Ulm", "people": 5}, output_type=City)
    assert agent.run("Ulm").people == 5
    assert "people: " in request(agent)
    assert "name: " not in request(agent).partition("The answer has to be")[2].partition("schema")[2].partition("}}")[2]


def test_checks_see_the_answer_as_it_is_typed(make):
    agent = caller(make, "1", "2", output_type=int, checks=[lambda answer: answer == 2])
    events = list(agent.events("two"))
    assert agent.answer == 2
    assert of(FinalAnswer, events)[0].text == "2"


@pytest.mark.parametrize(
    ("reply", "kind", "value"),
    [
        ("[1, 2]", list[int], [1, 2]),
        ("```json\n[1, 2]\n```", list[int], [1, 2]),
        ("These:\n```\n[1, 2]\n```\nThat is all.", list[int], [1, 2]),
        ("<think>[3]</think>[1, 2]", list[int], [1, 2]),
        ("[3]?</think>[1, 2]", list[int], [1, 2]),
        ("It stands between <think> and </think>.", str, "It stands between <think> and </think>."),
        ("<think>Hm.</think> It opens with <think>.", str, "It opens with <think>."),
        ("<code>final_answer([1, 2])</code>", list[int], [1, 2]),
        ("<code>final_answer([])</code>", list[int], []),
        ("Nothing.\n<code>final_answer(...)</code>", str, "Nothing."),
        ('{"name": "Ulm", "people": 5}', City, City(name="Ulm", people=5)),
        ("<code>final_answer({'name': 'Ulm', 'people': 5})</code>", City, City(name="Ulm", people=5)),
        ('{"x": 1}', Point, Point(1)),
    ],
)
def test_a_last_answer_is_read_as_what_it_has_to_be(make, reply, kind, value):
    agent = make([code("x = 1"), reply], output_type=kind, max_steps=1)
    result = agent.run("solve", return_full_result=True)
    assert (result.output, result.state) == (value, "max_steps_error")
    assert agent.answer_type.words() in request(agent)


def test_a_long_text_of_broken_fences_is_soon_refused():
    with pytest.raises(AgentError, match="has to be list"):
        AnswerType(list[int]).convert("x```\n" * 200_000)


def test_a_last_answer_in_words_is_typed_too(make):
    agent = make([code("x = 1"), "2.5"], output_type=float, max_steps=1)
    assert agent.run("solve") == 2.5
    agent = make([code("x = 1"), "much"], output_type=float, max_steps=1)
    result = agent.run("solve", return_full_result=True)
    assert (result.output, result.state) == (None, "max_steps_error")
    assert "has to be" in result.error


# -- going in circles


def circles(agent):
    return [event for event in agent.events("solve") if isinstance(event, Checked) and event.check == "repetition"]


def test_the_same_action_again_and_again_is_told_then_ended(make):
    replies = [call("final_answer", answer=1)] * 9
    agent = make([*replies, "Nothing else."], kind=ToolCallingAgent, checks=[lambda answer: False], max_steps=30)
    events = list(agent.events("solve"))
    told = [event for event in of(Checked, events) if event.check == "repetition"]
    assert [event.step for event in told] == [3, 6, 9]
    assert "the same action 3 times in a row" in request(agent, 3)
    assert "in a row" not in request(agent, 2)
    assert (events[-1].state, events[-1].steps, agent.answer) == ("max_steps_error", 9, "Nothing else.")
    assert "the same again and again" in events[-1].error


def test_the_same_error_again_and_again_is_told(coder, child):
    child.restart()  # what agents of other tests had there is not told to this one
    agent = coder([*(code(f"x{n} = 1\n1 / 0") for n in range(3)), *answers(1)])
    events = run(agent)
    told = [event for event in of(Checked, events) if event.check == "repetition"]
    assert [(event.step, event.ok) for event in told] == [(3, False)]
    assert "the same error 3 times in a row" in request(agent)
    assert events[-1].state == "success"


def test_replies_that_hold_no_action_are_an_error_like_any_other(make):
    agent = make([*(["What shall I do?"] * 9), "Nothing."], max_steps=30)
    events = list(agent.events("solve"))
    assert (events[-1].steps, agent.answer) == (9, "Nothing.")
    assert not of(Notice, events)


def test_what_differs_is_no_repetition(make):
    replies = [call("final_answer", answer=number % 2) for number in range(8)]
    agent = make([*replies, "Done."], kind=ToolCallingAgent, checks=[lambda answer: f"not {answer}"], max_steps=8)
    assert not circles(agent)


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_an_action_of_which_something_else_comes_each_time_is_no_repetition(make, kind):
    page = iter(range(1, 20))

    @tool
    def next_page() -> str:
        """Turns to the next page and gives its text."""
        return f"page {next(page)} of 12"

    turn = code("print(next_page())") if kind is CodeAgent else call("next_page")
    done = code("final_answer(1)") if kind is CodeAgent else call("final_answer", answer=1)
    agent = make([*[turn] * 12, done], kind=kind, tools=[next_page], max_steps=20)
    assert not circles(agent) and (agent.answer, next(page)) == (1, 13)


def test_nor_is_one_of_which_a_callback_shows_another_image(make):
    def look(step, agent):
        step.observations_images = [Image.new("RGB", (8, 8), (step.step_number, 0, 0))]

    agent = make([*[code("pass")] * 9, code("final_answer(1)")], step_callbacks=[look], max_steps=20)
    assert not circles(agent) and agent.answer == 1


@pytest.mark.parametrize(
    "action", ["object()", "print(lambda: 1)", "import matplotlib.pyplot as p\np.plot([1]); p.show()"]
)
def test_what_differs_by_an_address_alone_or_shows_the_same_picture_is_one(make, action):
    agent = make([*[code(action)] * 12, "Nothing."], kind=CodeAgent, max_steps=20)
    assert [event.step for event in circles(agent)] == [3, 6, 9]


def test_an_answer_after_the_warning_is_taken(make):
    agent = make([call("nothing")] * 3 + [call("final_answer", answer=1)], kind=ToolCallingAgent)
    assert agent.run("solve") == 1
    agent.model.replies += [call("nothing")] * 2 + [call("final_answer", answer=2)]
    assert agent.run("again") == 2  # each run counts for itself


def test_a_check_that_cannot_look_at_an_answer_is_refused_when_the_agent_is_made(make):
    with pytest.raises(ConfigError, match="did you mean answer, not anwser"):
        make([], checks=["anwser > 0"])
    for name in ("checks", "final_answer_checks"):
        with pytest.raises(ConfigError, match="takes no answer: give it a parameter"):
            make([], **{name: [lambda: True]})
    lawful = ["isinstance(x, Answer)", "my_answer > 3", "_answer == 1", "nswer(x)", "all(nswer for nswer in x)"]
    make([], checks=["len(answers) > 0", "limit < 3", lambda *given: True, *lawful])
