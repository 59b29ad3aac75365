"""Python's warnings about code that others wrote are not told to whoever runs this process; JSON has limits."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from smol_kernel import parsing
from smol_kernel.models.code_replies import literal_answer, parse_reply
from smol_kernel.parsing import PART, compiled, has_too_many_parts, parsed, parsed_json

ODD = r"found = re.findall('\d+', text) if 1 is 1 else None"


@pytest.fixture(params=["always", "error"])
def told(request):
    """What Python warns of meanwhile, where others want to be told everything."""
    with warnings.catch_warnings(record=True) as caught:
        parsed("0")  # others' filters come before ours
        warnings.simplefilter(request.param)
        yield caught


def test_odd_code_is_parsed_and_compiled_and_nothing_is_said(told):
    (statement,) = parsed(ODD).body
    assert isinstance(statement, ast.Assign)
    assert isinstance(parsed(r"'\d'", "eval"), ast.Expression)
    assert compiled(ODD).co_names[0] == "re"
    assert compiled(ast.parse("1 is 1")).co_code
    assert not told


def test_what_is_said_of_other_files_is_as_it_was(told):
    before = warnings.filters[0]
    for _ in range(3):
        parsed(ODD)
    with pytest.raises(SyntaxError) if before[0] == "error" else pytest.warns(SyntaxWarning):
        compile("1 is 1", "<another>", "exec")
    assert warnings.filters[1] == before
    assert len(warnings.filters) == len(set(map(str, warnings.filters)))


def test_code_that_is_none_is_an_error_that_names_no_file_of_ours():
    with pytest.raises(SyntaxError, match="<code>, line 1"):
        parsed("a b")


def test_a_reply_that_is_bare_odd_code_is_taken_for_code(told):
    assert parse_reply(ODD).code == ODD
    assert literal_answer(r"final_answer('\d')") == r"\d"
    assert not told


def test_a_run_with_odd_code_tells_who_started_it_nothing(tmp_path):
    program = r"""
from smol_kernel import CodeAgent, ScriptedModel, tool

@tool
def digits(text: str) -> str:
    '''The digits of a text.

    Args:
        text: Where they are.
    '''
    import re
    return "".join(re.findall(PATTERN, text))

reply = "Go.\n<code>\nimport re\nfinal_answer(re.sub('\\D', '', digits('a1')))\n</code>"
with CodeAgent(tools=[digits], model=ScriptedModel([reply]), journal=False, verbosity_level=-1) as agent:
    assert agent.run("Go.") == "1"
    agent.save("agent")
"""
    (tmp_path / "program.py").write_text(program.replace("PATTERN", r"'\d'"))
    ran = [sys.executable, "-W", "always:invalid escape", "-W", 'always:"\\d" is an invalid escape', "program.py"]
    done = subprocess.run(ran, cwd=tmp_path, capture_output=True, text=True, check=True)
    places = {line.split(":")[0] for line in done.stderr.splitlines() if "Warning" in line}
    assert {Path(place).name for place in places} == {"program.py"}  # Python's own, of the user's own file


def parts_of(value):
    """As they are counted: what stands before an item, and lists and dicts themselves."""
    if isinstance(value, list):
        return max(1, len(value)) + sum(map(parts_of, value))
    if isinstance(value, dict):
        return max(1, len(value)) + len(value) + sum(map(parts_of, value.values()))
    return 0


def odd_value(rng, depth):
    text = "".join(rng.choices(',:[]{}"\\\n\u20aca', k=rng.randrange(12)))
    if not depth or rng.random() < 0.4:
        return rng.choice([text, 1.5, None])
    items = [odd_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    return items if rng.random() < 0.5 else {f"{text}{place}": item for place, item in enumerate(items)}


@pytest.mark.parametrize("piece", [5, 64, 1 << 16])
def test_the_parts_of_a_json_text_are_those_outside_of_its_strings(monkeypatch, piece):
    monkeypatch.setattr(parsing, "_PIECE", piece)
    rng = random.Random(piece)
    for _ in range(500):
        value = odd_value(rng, 5)
        text, most = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode(), parts_of(value) * PART
        assert not has_too_many_parts(text, most)
        assert parsed_json(text, most) == value
        if most:
            assert has_too_many_parts(text, most - 1)
            with pytest.raises(ValueError, match="too many parts"):
                parsed_json(text, most - 1)
