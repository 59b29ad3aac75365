"""The text of `app.py`, a Gradio page (https://www.gradio.app/docs/gradio/interface) to try a saved tool on."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from smol_kernel.parsing import parsed

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

_FIELDS = {
    "string": "Textbox(label={label!r}, info={info!r})",
    "boolean": "Checkbox(label={label!r}, info={info!r})",
    "integer": "Number(label={label!r}, info={info!r}, precision=0)",
    "number": "Number(label={label!r}, info={info!r})",
    "image": 'Image(label={label!r}, type="pil")',
    "audio": 'Audio(label={label!r}, type="filepath")',
}
_JSON_FIELD = 'Code(label={label!r}, language="json")'
_JSON_RESULT = "JSON(label={label!r})"

_PAGE = '''"""A page to try the tool on: python app.py"""

import json

import gradio
from {module} import {symbol}

made = {made}


def run({parameters}):
    return made({arguments})


page = gradio.Interface(
    fn=run,
    inputs=[{fields}
    ],
    outputs=gradio.{result},
    title={title!r},
    description={description!r},
)

if __name__ == "__main__":
    page.launch()
'''


def page_for(tool: Tool, code: str, module: str) -> str:
    """The page's source, for the tool that `code`, saved as `module`, defines. JSON is typed in where no field fits."""
    wrapped = getattr(tool, "__wrapped__", None)
    symbol = _defined(code, wrapped.__name__ if wrapped else type(tool).__name__)
    fields: list[str] = []
    arguments: list[str] = []
    for name, spec in tool.inputs.items():
        field = _FIELDS.get(str(spec["type"]))
        fields.append(f"\n        gradio.{(field or _JSON_FIELD).format(label=name, info=spec['description'])},")
        arguments.append(f"{name}={name}" if field else f"{name}=json.loads({name}) if {name} else None")
    return _PAGE.format(
        module=module,
        symbol=symbol,
        made=symbol if wrapped else f"{symbol}()",
        parameters=", ".join(tool.inputs),
        arguments=", ".join(arguments),
        fields="".join(fields),
        result=_FIELDS.get(tool.output_type, _JSON_RESULT).format(label="result", info=None),
        title=tool.name,
        description=tool.description,
    )


def _defined(code: str, name: str) -> str:
    """The function or class of this name in a module; the last one where there is none, as of a built-in tool."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [node.name for node in parsed(code).body if isinstance(node, kinds)]
    return next((each for each in (f"{name}Here", name) if each in names), names[-1])
