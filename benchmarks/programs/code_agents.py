"""Programs with one CodeAgent: databases, retrieval, tools, values and images in and out."""

# ruff: noqa: RUF012  (tool classes as the documentation writes them)
from __future__ import annotations

import json
import sqlite3
from typing import Any, Optional

from scripted import actions, code, images_in, prepared, quiet, raised, text_of


def text_to_sql(lib: Any) -> Any:
    """Questions to a real SQLite database, in memory; an error of the database is repaired."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE receipts (id INTEGER PRIMARY KEY, customer TEXT, price REAL, tip REAL)")
    rows = [("Alan Payne", 12.06, 1.2), ("Alex Mason", 23.86, 0.24), ("Margaret James", 21.11, 1.0)]
    database.executemany("INSERT INTO receipts (customer, price, tip) VALUES (?, ?, ?)", rows)
    columns = ", ".join(f"{row[1]} {row[2]}" for row in database.execute("PRAGMA table_info(receipts)"))

    @lib.tool
    def sql_engine(query: str) -> str:
        """Runs a query on the table.

        Args:
            query: The SQL, in SQLite's dialect.
        """
        return "\n".join(str(row) for row in database.execute(query))

    sql_engine.description += f" The table 'receipts' has the columns {columns}."
    model = prepared(
        lib,
        code("print(sql_engine('SELECT client FROM receipts'))"),
        code("rows = sql_engine('SELECT customer FROM receipts ORDER BY price DESC LIMIT 1')\nprint(rows)"),
        code("final_answer(rows.strip('(),').strip(\"'\"))"),
    )
    agent = lib.CodeAgent(tools=[sql_engine], model=model, **quiet(lib))
    answer = agent.run("Who had the most expensive receipt?")
    seen = text_of(model.requests[1][-1])
    return {
        "answer": answer,
        "columns in the prompt": "customer TEXT" in text_of(model.requests[0][0]),
        "error read by the model": "no such column: client" in seen,
        "steps": agent.step_number,
    }


def retriever(lib: Any) -> Any:
    """A Tool subclass that keeps an index it was constructed with, and is made ready by `setup()`."""

    class Retriever(lib.Tool):
        name = "retriever"
        description = "Finds the passages of the documentation that are closest to a query."
        inputs = {"query": {"type": "string", "description": "What to look for, as a statement."}}
        output_type = "string"

        def __init__(self, passages, top=2, **kwargs):
            super().__init__(**kwargs)
            self.passages = passages
            self.top = top
            self.setups = 0

        def setup(self):
            self.index = [(set(passage.lower().split()), passage) for passage in self.passages]
            self.setups += 1
            super().setup()

        def forward(self, query: str) -> str:
            words = set(query.lower().split())
            ranked = sorted(self.index, key=lambda entry: -len(entry[0] & words))
            return "\n".join(f"== {number} ==\n{text}" for number, (_, text) in enumerate(ranked[: self.top]))

    passages = ["the backward pass is slower", "a forward pass computes outputs", "data loaders read files"]
    tool = Retriever(passages, top=1)
    model = prepared(
        lib,
        code("found = retriever(query='which pass is slower')\nprint(found)"),
        code("again = retriever('which pass is slower')\nfinal_answer(again.splitlines()[-1])"),
    )
    agent = lib.CodeAgent(tools=[tool], model=model, max_steps=4, **quiet(lib))
    return {"answer": agent.run("Which pass is slower?"), "setups": tool.setups, "initialized": tool.is_initialized}


def structured_answer(lib: Any) -> Any:
    """The final answer is a dictionary of lists, taken to pieces by the program."""
    reply = code("final_answer({'name': 'Ada', 'tags': ['a', 'b'], 'scores': {'x': 1.5, 'y': None}, 'ok': True})")
    answer = lib.CodeAgent(tools=[], model=prepared(lib, reply), **quiet(lib)).run("Describe Ada.")
    return {"answer": answer, "type": type(answer).__name__}


def structured_outputs_internally(lib: Any) -> Any:
    """Replies are JSON with thought and code; the model is asked for that format at each step."""
    model = prepared(
        lib,
        json.dumps({"thought": "count", "code": "n = len('abc')\nprint(n)"}),
        json.dumps({"thought": "done", "code": "<code>\nfinal_answer(n * 2)\n</code>"}),
    )
    agent = lib.CodeAgent(tools=[], model=model, use_structured_outputs_internally=True, **quiet(lib))
    answer = agent.run("Count.")
    return {
        "answer": answer,
        "format asked for": [bool(each["response_format"]) for each in model.options],
        "keys": sorted(model.options[0]["response_format"]["json_schema"]["schema"]["properties"]),
    }


def tool_arguments(lib: Any) -> Any:
    """Optional parameters, defaults, lists and dictionaries: the schema, and calls of each form."""

    @lib.tool
    def describe(name: str, size: int = 3, note: Optional[str] = None, extra: Optional[dict] = None) -> str:  # noqa: UP045
        """Describes a thing.

        Args:
            name: What it is called.
            size: How big it is.
            note: A remark.
            extra: More facts.
        """
        return f"{name} {size} {note} {extra}"

    @lib.tool
    def total(numbers: list[float]) -> float:
        """Adds numbers.

        Args:
            numbers: What to add.
        """
        return sum(numbers)

    @lib.tool
    def echo(value: Any) -> Any:
        """Gives back what it gets.

        Args:
            value: Anything.
        """
        return value

    text = """
one = describe("box")
two = describe("box", 4, note="red")
three = describe(name="box", extra={"a": [1, 2]})
final_answer([one, two, three, total([1, 2.5]), echo({"k": (1, 2)}), echo(None)])
"""
    agent = lib.CodeAgent(tools=[describe, total, echo], model=prepared(lib, code(text)), **quiet(lib))
    return {
        "answer": agent.run("Describe."),
        "inputs": {
            key: {"type": value["type"], "nullable": value.get("nullable", False)}
            for key, value in describe.inputs.items()
        },
        "types": [describe.output_type, total.output_type, echo.output_type, total.inputs["numbers"]["type"]],
        "direct call": describe("x", size=1),
    }


def bad_tool_definitions(lib: Any) -> Any:
    """Definitions that are refused, each at the time it is made."""

    def no_hint(x) -> str:
        """Does.

        Args:
            x: A thing.
        """
        return x

    def no_description(x: str) -> str:
        """Does."""
        return x

    class NoType(lib.Tool):
        name = "no_type"
        description = "Has no output type."
        inputs = {}

        def forward(self):
            return 1

    class WrongInputs(lib.Tool):
        name = "wrong_inputs"
        description = "Its inputs are not those of forward."
        inputs = {"a": {"type": "string", "description": "A."}}
        output_type = "string"

        def forward(self, b):
            return b

    class WrongType(WrongInputs):
        inputs = {"b": {"type": "text", "description": "B."}}

    class BadName(WrongInputs):
        name = "not a name"
        inputs = {"b": {"type": "string", "description": "B."}}

    return {
        "no type hint": raised(lib, lambda: lib.tool(no_hint)),
        "no description": raised(lib, lambda: lib.tool(no_description)),
        "no output type": raised(lib, NoType),
        "inputs against forward": raised(lib, WrongInputs),
        "unknown type": raised(lib, WrongType),
        "bad name": raised(lib, BadName),
        "not a tool": raised(lib, lambda: lib.CodeAgent(tools=[print], model=prepared(lib))),
        "two of one name": raised(
            lib, lambda: lib.CodeAgent(tools=[lib.FinalAnswerTool(), lib.FinalAnswerTool()], model=prepared(lib))
        ),
    }


def additional_args(lib: Any) -> Any:
    """Values handed over by name are variables of the actions and are named in the prompt."""
    model = prepared(lib, code("final_answer([word.upper() for word in words] + [limit + 1])"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    answer = agent.run("Shout.", additional_args={"words": ["a", "b"], "limit": 4})
    asked = text_of(model.requests[0][-1])
    return {
        "answer": answer,
        "named": "words" in asked and "limit" in asked,
        "in the state": [agent.state["words"], agent.state["limit"]],
        "task": "Shout." in agent.task,
    }


def images_in_and_out(lib: Any) -> Any:
    """Images with the task reach the model; an image made in an action is the answer."""
    from PIL import Image

    pictures = [Image.new("RGB", (8, 8), "red"), Image.new("RGB", (4, 4), "blue")]
    draw = code("from PIL import Image\nfinal_answer(Image.new('RGB', (5, 7), (0, 255, 0)))")
    model = prepared(lib, draw)
    agent = lib.CodeAgent(tools=[], model=model, additional_authorized_imports=["PIL.*"], **quiet(lib))
    answer = agent.run("Draw.", images=pictures)
    return {
        "images in the request": images_in(model.requests[0]),
        "kept": len(agent.memory.steps[0].task_images),
        "type": type(answer).__name__,
        "size": list(answer.to_raw().size),
        "colour": list(answer.to_raw().convert("RGB").getpixel((0, 0))),
    }


def image_tool(lib: Any) -> Any:
    """A tool that returns an image, another that takes one."""
    from PIL import Image

    class Draw(lib.Tool):
        name = "draw"
        description = "Draws a square."
        inputs = {"side": {"type": "integer", "description": "Its side in pixels."}}
        output_type = "image"

        def forward(self, side):
            return Image.new("RGB", (side, side), "white")

    class Width(lib.Tool):
        name = "width"
        description = "Measures an image."
        inputs = {"image": {"type": "image", "description": "The image."}}
        output_type = "integer"

        def forward(self, image):
            return image.size[0]

    reply = code("picture = draw(6)\nprint(width(picture))\nfinal_answer(picture)")
    agent = lib.CodeAgent(tools=[Draw(), Width()], model=prepared(lib, reply), **quiet(lib))
    answer = agent.run("Draw and measure.")
    return {
        "type": type(answer).__name__,
        "size": list(answer.to_raw().size),
        "logs": "6" in agent.memory.steps[1].observations,
    }


def answer_types(lib: Any) -> Any:
    """Answers of every plain type keep their type."""
    values = ["1", "2.5", "'text'", "None", "[1, [2]]", "(1, 2)", "{1, 2}", "{'a': (1,)}", "b'x'", "1 + 2j", "True"]
    agent = lib.CodeAgent(
        tools=[], model=prepared(lib, *[code(f"final_answer({text})") for text in values]), **quiet(lib)
    )
    answers = [agent.run("Answer.", reset=False) for _ in values]
    return {text: [type(answer).__name__, repr(answer)] for text, answer in zip(values, answers, strict=True)}


def several_codes_in_one_reply(lib: Any) -> Any:
    """A reply with two code blocks runs both, in order."""
    reply = "First.\n<code>\na = 2\n</code>\nThen.\n<code>\nfinal_answer(a * 4)\n</code>"
    return lib.CodeAgent(tools=[], model=prepared(lib, reply), **quiet(lib)).run("Go.")


def answer_in_a_branch(lib: Any) -> Any:
    """`final_answer` ends the action where it is called, also in a loop or a function."""
    text = """
seen = []
for n in range(9):
    seen.append(n)
    if n == 3:
        final_answer(seen)
print('not reached')
"""
    agent = lib.CodeAgent(tools=[], model=prepared(lib, code(text)), **quiet(lib))
    answer = agent.run("Go.")
    return {"answer": answer, "after it": "not reached" in (actions(lib, agent.memory)[-1].observations or "")}


def own_final_answer(lib: Any) -> Any:
    """A tool of the user's named final_answer takes the place of the built-in one."""

    @lib.tool
    def final_answer(answer: str, sure: bool = True) -> str:
        """Ends the work.

        Args:
            answer: The answer.
            sure: Whether it is certain.
        """
        return f"{answer}, {'surely' if sure else 'perhaps'}"

    agent = lib.CodeAgent(
        tools=[final_answer], model=prepared(lib, code("final_answer('yes', sure=False)")), **quiet(lib)
    )
    return agent.run("Is it so?")
