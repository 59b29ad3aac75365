"""The actions of an agent that acts by structured calls, as Python: run by itself, it does what they did."""

from __future__ import annotations

import pytest
from PIL import Image
from scripted_replies import call, calls, final, of

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.events import ActionProposed, ToolCalled
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.script import script_cells
from smol_kernel.tools.base import tool


@tool
def note(text: str, more: object = None) -> str:
    """Notes.

    Args:
        text: what.
        more: anything.
    """
    made.append((text, more))
    return text


@tool
def paint(colour: str) -> Image.Image:
    """Paints.

    Args:
        colour: of it.
    """
    if colour == "bad":
        raise ValueError("no such colour")
    return Image.new("RGB", (2, 3), colour)


made: list[object] = []
LONG = 'a "line"\n' * 1_000


def ran(*replies, **given):
    made.clear()
    agent = ToolCallingAgent([note, paint], ScriptedModel(list(replies)), journal=False, verbosity_level=0)
    return list(agent.events("go", additional_args=given))


def again(events, **names):
    """What the cells of a run do, and their answer."""
    done = list(made)
    made.clear()
    cells = [cell.source for cell in script_cells(Transcript.from_events(events)) if cell.kind == "code"]
    names |= {"note": note, "paint": paint}
    for cell in cells[:-1]:
        exec(cell, names)
    return eval(cells[-1], names), made == done


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"text": "word", "more": "data"}, "note(text='word', more=data)"),
        ({"text": LONG}, f"note(text={LONG!r})"),
        ('{"text": "data and more"}', "note(text='data and more')"),
        ("word", "note(text='word')"),
        ({"text": "word", "more": {"x": ["data"]}}, "note(text='word', more={'x': ['data']})"),
    ],
)
def test_a_call_is_told_as_it_was_made(given, line):
    data = [1, object()]
    events = ran(calls(("note", given)), final("data"), data=data)
    assert of(ActionProposed, events)[0].code == line
    called = of(ToolCalled, events)[0].summary
    assert called == line if len(line) < 200 else len(called) < 300
    answer, same = again(events, data=data)
    assert answer is data and same and len(made) == 1


def test_pictures_of_tools_have_names():
    """Those that are free: here the caller has one already."""
    replies = (
        calls(("paint", {"colour": "red"}), ("paint", {"colour": "blue"})),
        lambda said: call("note", text="word", more=said[-1].text.split()[-1]),
        lambda said: final(said[-1].text and "image.png"),
    )
    events = ran(*replies, image_1=7)
    lines = [each.code for each in of(ActionProposed, events)]
    assert lines[0].split("\n") == ["image_2 = paint(colour='red')", "image_3 = paint(colour='blue')"]
    answer, same = again(events)
    assert answer.getpixel((0, 0)) in ((255, 0, 0), (0, 0, 255)) and same


def test_a_picture_whose_name_became_another_variables_has_none():
    replies = [call("paint", colour="red"), final(1), call("note", text="word", more="image.png"), final("image_1")]
    agent = ToolCallingAgent([note, paint], ScriptedModel(replies), journal=False, verbosity_level=0)
    agent.run("go")
    events = list(agent.events("go", reset=False, additional_args={"image_1": 7}))
    assert of(ActionProposed, events)[0].code == "note(text='word', more='image.png')"
    assert of(ActionProposed, events)[1].code == "final_answer(answer=image_1)"


def test_a_picture_of_a_step_that_failed_has_no_name():
    """The step is in no cells."""
    painted = calls(("paint", {"colour": "bad"}), ("paint", {"colour": "red"}))
    lines = [each.code for each in of(ActionProposed, ran(painted, call("paint", colour="blue"), final("image.png")))]
    assert lines[1:] == ["image_1 = paint(colour='blue')", "final_answer(answer='image.png')"]


def test_variables_for_an_agent():
    helper = ToolCallingAgent([], ScriptedModel([final(1)]), name="helper", description="Helps.", journal=False)
    replies = [call("helper", task="data", additional_args={"data": "data", "x": "y"}), final(2)]
    manager = ToolCallingAgent([], ScriptedModel(replies), managed_agents=[helper], journal=False, verbosity_level=0)
    events = [event for event in manager.events("go", additional_args={"data": [1]}) if event.run != helper.run_id]
    assert of(ActionProposed, events)[0].code == "helper(task=data, additional_args={'data': data, 'x': 'y'})"


def test_a_call_that_cannot_be_read_is_shown_in_part():
    events = ran(calls(("nothing", {"text": "data" * 1_000})), final(1), data=2)
    shown = of(ActionProposed, events)[0].code
    assert shown.startswith("nothing(text='data") and "characters left out" in shown and len(shown) < 2_100
