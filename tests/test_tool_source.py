"""Tools written down as source, and made from it."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import pytest

import smol_kernel
from smol_kernel import CodeAgent, ScriptedModel, Tool, tool
from smol_kernel.errors import ToolError
from smol_kernel.tools.source import left_out

FACTOR = 5


@tool
def double(x: int, kind: Literal["a", "b"] = "a", more: Optional[list[int]] = None) -> dict[str, int]:  # noqa: UP045
    """Doubles.

    Args:
        x: It.
        kind: Which.
        more: Others.
    """
    import json

    return json.loads(json.dumps({kind: 2 * x + sum(more or [])}))


class Weather(Tool):
    """The weather."""

    name = "weather"
    description = "Tells the weather."
    inputs = {  # noqa: RUF012
        "city": {"type": "string", "description": "Where."},
        "extra": {"type": "object", "description": "More.", "nullable": True},
    }
    output_type = "object"
    output_schema = {"type": "object", "properties": {"city": {"type": "string"}}}  # noqa: RUF012

    def __init__(self, unit="C", **kwargs):
        super().__init__(**kwargs)
        self.unit = unit

    def setup(self):
        import pathlib

        self.home = pathlib.PurePosixPath("/")

    def forward(self, city: str, extra: dict | None = None):
        return {"city": city, "unit": self.unit, "home": str(self.home)}


def test_a_function_is_written_as_it_stands_and_read_back():
    written = double.to_dict()
    assert (written["name"], written["requirements"]) == ("double", ["smol-kernel"])
    assert written["code"].startswith(
        "from __future__ import annotations\n\n"
        "from smol_kernel import tool\nfrom typing import Literal\nfrom typing import Optional\n\n\n"
        "@tool\ndef double(x: int, kind: Literal"
    )
    json.dumps(written)
    again = Tool.from_dict(written)
    assert again(2, more=[1]) == {"a": 5}
    assert (again.inputs, again.to_code_prompt(), again.to_dict()) == (double.inputs, double.to_code_prompt(), written)


def test_a_class_is_written_as_it_stands_and_read_back():
    weather = Tool.from_dict(Weather().to_dict(), unit="F")
    assert weather("Bern") == {"city": "Bern", "unit": "F", "home": "/"}
    assert weather.output_schema == Weather.output_schema
    again = Tool.from_dict(weather.to_dict())
    assert again("Bern")["unit"] == "F" and Tool.from_dict(again.to_dict(), unit="K")("Bern")["unit"] == "K"
    assert Tool.from_dict(Weather().to_dict()).to_dict() == Weather().to_dict()


def test_lambdas_and_comprehensions_in_a_class_need_nothing_from_outside():
    class Ranked(Tool):
        name, description, output_type = "ranked", "Ranks.", "string"
        inputs = {n: {"type": "string", "description": n} for n in ("a", "b")}  # noqa: RUF012
        order = staticmethod(lambda row, *more: row[0])

        def forward(self, a, b):
            return self.order(sorted([a, b]))

    assert Tool.from_dict(Ranked().to_dict())("y", "x") == "x"


def test_a_function_that_may_run_beside_others_still_may():
    def plain() -> int:
        """Gives one."""
        return 1

    @tool
    def marked() -> int:
        """Gives two."""
        return 2

    for made in (tool(threaded=True)(plain), tool(threaded=True)(marked)):
        again = Tool.from_dict(made.to_dict())
        assert again.threaded and again() == made()
    assert not Tool.from_dict(tool(marked).to_dict()).threaded


def test_the_text_is_found_by_its_line_not_by_its_name():
    def make(word):
        if word:

            class Echo(Weather):
                def forward(self, city, extra=None):
                    return "first"
        else:

            class Echo(Tool):
                name, description, output_type, inputs = "echo", "Echoes.", "string", {}

                def forward(self):
                    return "second"

        return Echo()

    assert Tool.from_dict(make(False).to_dict())() == "second"


def test_a_saved_tool_is_a_folder_of_files(tmp_path):
    Weather().save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["app.py", "requirements.txt", "tool.py"]
    assert (folder / "requirements.txt").read_text() == "smol-kernel\ngradio\n"
    assert Tool.from_code((folder / "tool.py").read_text())("Bern")["city"] == "Bern"
    code = f"""
import sys; sys.path[:0] = [{str(Path(smol_kernel.__file__).parent.parent)!r}, {str(folder)!r}]
from tool import Weather
print(Weather()("Bern")["city"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Bern\n"


GRADIO = '''"""Records what a page asks of Gradio."""
import json
def __getattr__(name):
    return lambda **options: [name, options]
class Interface:
    def __init__(self, **options):
        self.options = options
    def launch(self):
        run = self.options.pop("fn")
        print(json.dumps([self.options, run("Bern", '{"a": 1}'), run("Chur", "")]))
'''


def test_the_page_calls_the_tool(tmp_path):
    Weather().save(tmp_path, tool_file_name="skies")
    (tmp_path / "gradio.py").write_text(GRADIO)  # the real one is 60 packages
    environment = {**os.environ, "PYTHONPATH": str(Path(smol_kernel.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    page, first, second = json.loads(done.stdout)
    assert page["inputs"][0] == ["Textbox", {"label": "city", "info": "Where."}]
    assert (page["title"], page["outputs"][0]) == ("weather", "JSON")
    assert (first["city"], second["city"]) == ("Bern", "Chur")


def test_a_page_of_a_function_needs_no_instance(tmp_path):
    double.save(tmp_path)
    assert "\nmade = double\n" in (tmp_path / "app.py").read_text()
    double.save(tmp_path / "plain", make_gradio_app=False)
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == ["requirements.txt", "tool.py"]
    with pytest.raises(ToolError, match=r"tool_file_name='my tool' cannot be imported"):
        double.save(tmp_path, tool_file_name="my tool")


def test_the_page_takes_the_tool_wherever_it_stands(tmp_path):
    more = "\n\ndef more():\n    pass\n\n\nclass Other:\n    pass\n"
    for code, line in ((BASE + ONE, "made = One()"), (double.to_dict()["code"], "made = double")):
        Tool.from_code(code + more).save(tmp_path)
        assert f"\n{line}\n" in (tmp_path / "app.py").read_text()


def test_what_was_made_with_arguments_from_code_is_not_written_without_them(tmp_path):
    code = f"{BASE}{ONE}    def __init__(self, key):\n        self.key = key\n"
    with pytest.raises(ToolError, match="One needs the constructor argument 'key', which stays here"):
        Tool.from_code(code, key="abc").save(tmp_path)
    assert list(tmp_path.iterdir()) == []


class Search(Tool):
    name = "search"
    description = "Searches."
    inputs = {"query": {"type": "string", "description": "What for."}}  # noqa: RUF012
    output_type = "any"

    def __init__(self, index, top_k=3, *, fields=("title",), session=None, api_key=None, header=None):
        self.made_with = (index, top_k, fields)
        self.session, self.api_key, self.secret_header = session, api_key, header

    def forward(self, query):
        return [*self.made_with, self.session, self.api_key, self.secret_header]


def test_plain_arguments_of_a_constructor_are_written(tmp_path):
    made = Search("private-hr", 50, fields=["a", {"b": (1, None)}])
    given = ["private-hr", 50, ["a", {"b": (1, None)}], None, None, None]
    again = Tool.from_dict(made.to_dict())
    assert again("x") == made("x") == given
    assert Tool.from_dict(again.to_dict())("x") == given
    assert Tool.from_dict(again.to_dict(), top_k=7)("x")[:2] == ["private-hr", 7]
    made.save(tmp_path)
    assert "\nmade = SearchHere()\n" in (tmp_path / "app.py").read_text()
    assert Search("a", 3).to_dict()["code"].count("top_k") == made.to_dict()["code"].count("top_k") - 1


@pytest.mark.parametrize(
    "more",
    [
        {"session": object()},
        {"session": {1, 2}},
        {"session": "x" * 20_000},
        {"session": {"password": "abc"}},
        {"session": ["--token", "abc"]},
        {"session": "https://me:abc@host/"},
        {"session": "sk-abcdefgh"},
        {"session": "a1b2c3d4e5f6a7b8c9d0e1f2"},
        {"session": "word", "header": "word"},
        {"api_key": "abc"},
        {"session": ["Authorization", "Basic dXNlcjpwYXNz"]},
        {"session": {"k": ("Authorization", "hunter-hunter")}},
        {"session": {"name": "password", "value": "hunter"}},
        {"session": {"fields": ["pin", "password", 1234]}},
        {"session": "password: hunter"},
        {"session": "Server=h;Pwd=hunter2"},
        {"session": ("admin", "hunter2hunter2")},
        {"session": "AB12-CD34-EF56"},
        {"session": "Zk3v9QpL1xT7bb-"},
    ],
)
def test_what_is_not_plain_or_looks_like_a_key_is_left_out_and_named(tmp_path, more):
    made = Search("news", **more)
    with pytest.warns(UserWarning, match=f"tool 'search' is written without {next(iter(more))}"):
        made.save(tmp_path)
    code = (tmp_path / "tool.py").read_text()
    assert code.endswith("super().__init__(**{**{'index': 'news'}, **settings})\n")
    with pytest.raises(ToolError, match="Search needs the constructor argument 'index'"):
        Search(object()).to_dict()


class Holder(Tool):
    name = "holder"
    description = "Holds what it was given."
    inputs = {}  # noqa: RUF012
    output_type = "any"

    def __init__(self, given=None, *places, held=None, **more):
        self.held, self.places, self.more = held and held(given), places, more

    def forward(self):
        return self.more


@pytest.mark.parametrize(
    "held",
    [
        lambda key: {"X-Auth": key},
        lambda key: [{"headers": [("Accept", "text"), {"X-Auth": f"Bearer {key}"}]}],
        lambda key: {"session_auth": ("admin", key)},
    ],
)
def test_what_a_tool_holds_somewhere_as_a_key_is_left_out(held):
    made = Holder("plain-horse-pass", held=held)
    made.rows = {}
    made.rows["all"] = made.rows
    assert "horse" not in made.to_dict()["code"]
    with pytest.warns(UserWarning, match="what was given to their constructors: given, held of 'holder'"):
        data = CodeAgent([made], ScriptedModel([])).to_dict()
    assert "horse" not in json.dumps(data)


class Limited(Tool):
    name = "limited"
    description = "Says what it may import."
    inputs = {}  # noqa: RUF012
    output_type = "any"

    def __init__(self, authorized_imports=None):
        self.authorized_imports = authorized_imports

    def forward(self):
        return self.authorized_imports


@pytest.mark.parametrize(
    ("given", "again"),
    [
        (["h5py"], ["h5py"]),
        (("h5py", "cv2.x"), ("h5py", "cv2.x")),
        (["h5py", "Zk3v9QpL1xT7bb"], ["h5py"]),
        ({"h5py"}, []),
        ("Zk3v9QpL1xT7bb", []),
        (["*"], ["*"]),
    ],
)
def test_a_limit_of_what_may_be_imported_is_not_lost(given, again):
    made = Limited(given)
    assert Tool.from_dict(made.to_dict())() == again
    assert left_out(made) == (["authorized_imports"] if given != again else [])


def test_what_has_no_name_is_not_asked_for_by_one(tmp_path):
    with pytest.warns(UserWarning, match="pass held= to from_code; .* have Holder take places by name"):
        Holder(None, "a", "b", held=print, x=1).save(tmp_path)
    assert Tool.from_code((tmp_path / "tool.py").read_text())() == {"x": 1}


def test_a_loaded_tool_is_written_as_it_is():
    code = Search("news", 50, fields=["a"]).to_dict()["code"]
    again = Tool.from_code(code, top_k=7, session=object()).to_dict()["code"]
    assert again == Search("news", 7, fields=["a"]).to_dict()["code"]
    assert Tool.from_code(again).to_dict()["code"] == again
    with pytest.raises(ToolError, match="Search needs the constructor argument 'index'"):
        Tool.from_code(code, index=object()).to_dict()


def test_requirements_are_the_packages_as_pip_names_them():
    @tool
    def draw() -> str:
        """Draws."""
        import os.path

        import PIL.Image

        return f"{os.path} {PIL.Image}"

    assert draw.to_dict()["requirements"] == ["pillow", "smol-kernel"]


# what cannot be written


@dataclass
class Place:
    name: str


def no_tool(function):
    return function


def culprits():
    local = 3

    @tool
    def global_name() -> int:
        """Does."""
        return FACTOR

    @tool
    def closure() -> int:
        """Does."""
        return sum(local for _ in range(2))

    @tool
    def module() -> str:
        """Does."""
        return json.dumps(1)

    @tool
    def hint(place: Place) -> str:
        """Does.

        Args:
            place: It.
        """
        return place.name

    @tool
    @no_tool
    def decorated() -> str:
        """Does."""
        return ""

    class Counter:
        def count(self) -> int:
            """Counts."""
            return 1

    class Keyed(Weather):
        def __init__(self, key):
            self.key = key

    class Uses(Weather):
        def forward(self, city, extra=None):
            return collections.Counter(city)

    class Named(Tool):
        name, description, output_type, inputs = "named", f"{FACTOR} things.", "string", {}

        def forward(self):
            return ""

    made: dict[str, object] = {}
    exec("from smol_kernel import tool\n@tool\ndef typed() -> int:\n    'Does.'\n    return 1\n", made)
    return {
        "global_name": (global_name, "it uses 'FACTOR', which is defined outside of it. Define or import it inside"),
        "closure": (closure, "it uses 'local', which is defined outside of it"),
        "module": (module, "it uses 'json', which is defined outside of it. Write `import json` inside the function"),
        "hint": (hint, "its definition names 'Place', which is defined outside of it"),
        "decorated": (decorated, "its definition names 'no_tool', which is defined outside of it"),
        "method": (tool(Counter().count), "it is a method of a live Counter object"),
        "argument": (Keyed("secret"), "Keyed needs the constructor argument 'key', which stays here"),
        "class": (Uses(), "it uses 'collections', which is defined outside of it"),
        "attribute": (Named(), "its definition names 'FACTOR', which is defined outside of it"),
        "typed": (made["typed"], "the text of its definition is not to be found"),
    }


@pytest.mark.parametrize("case", culprits())
def test_what_cannot_be_written_is_named(case, tmp_path):
    refused, problem = culprits()[case]
    with pytest.raises(ToolError, match="cannot be written as source") as caught:
        refused.save(tmp_path / "x")
    assert problem in str(caught.value)
    assert not (tmp_path / "x").exists()


# from code


def test_code_saved_by_smolagents_is_read():
    code = """
from typing import Any, Optional
from smolagents.tools import Tool

class SimpleTool(Tool):
    name = "echo"
    description = "Echoes."
    inputs = {"text": {"type": "string", "description": "It."}}
    output_type = "string"

    def forward(self, text: str) -> str:
        return text
"""
    assert Tool.from_code(code)("a") == "a"


BASE = "from smol_kernel import Tool\nclass Base(Tool):\n    description, inputs, output_type = 'x', {}, 'null'\n"
ONE = "class One(Base):\n    name = 'one'\n    def forward(self): return 1 / 0\n"


def test_of_a_family_of_classes_the_last_child_is_the_tool():
    assert Tool.from_code(BASE + ONE).name == "one"


def test_a_traceback_shows_the_lines_of_the_code():
    with pytest.raises(ZeroDivisionError) as caught:
        Tool.from_code(BASE + ONE)()
    assert "def forward(self): return 1 / 0" in "".join(traceback.format_exception(caught.value))


def test_records_within_the_code_work():
    code = """
from __future__ import annotations
from dataclasses import dataclass
from smol_kernel import tool

@dataclass
class Place:
    lat: float

@tool
def visit(place: Place) -> float:
    '''Visits.

    Args:
        place: It.
    '''
    return place.lat
"""
    made = Tool.from_code(code)
    assert made({"lat": 3}) == 3 and made.to_dict()["code"] == code


@pytest.mark.parametrize(
    ("code", "kwargs", "problem"),
    [
        ("x = 1", {}, "it has: none"),
        (BASE + ONE + ONE.replace("One", "Two"), {}, "it has: One, Two"),
        ("from smol_kernel import tool\n@tool\ndef f() -> int:\n    'Does.'\n", {"key": 1}, "takes no constructor arg"),
    ],
)
def test_code_without_one_tool_is_refused(code, kwargs, problem):
    with pytest.raises(ToolError, match=problem):
        Tool.from_code(code, **kwargs)


def test_a_dict_without_code_is_refused():
    with pytest.raises(ToolError, match="a tool is made from a dict with 'code'"):
        Tool.from_dict({"name": "x"})
