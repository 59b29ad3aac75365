"""`%autoreload` renews what a notebook imported of tools, and leaves this library as it is."""

from __future__ import annotations

import pytest
from notebook_kernel import NotebookKernel

import smol_kernel

TOOLS = '''
from smol_kernel import tool

class Shop:
    @tool
    def stock(item: str) -> int:
        """Counts it.

        Args:
            item: What.
        """
        return {0}

@tool{1}
def price(item: str{2}) -> float:
    """Tells what it costs{3}.

    Args:
        item: What.{4}
    """
    return {0}.5
'''
FIRST = TOOLS.format(1, "", "", "", "")
SECOND = TOOLS.format(22, "(threaded=True)", ", city: str = 'Ulm'", " in a city", "\n        city: Where.")
LOOK = "print(price('tea'), Shop.stock('tea'), held[0] is price, price.threaded, price.signature, price.description)"
OWN = "from smol_kernel import {}\n\ndef value():\n    return {}\n"


@pytest.fixture
def kernel(tmp_path):
    kernel = NotebookKernel(tmp_path)
    yield kernel
    kernel.close()


@pytest.mark.parametrize("mode", ["2", "2-", "3"])
def test_a_tool_that_was_edited_is_renewed_where_it_is_held(kernel, tmp_path, mode):
    (tmp_path / "shop.py").write_text(FIRST)
    kernel.run(f"from shop import price, Shop\nheld = [price]\n%load_ext autoreload\n%autoreload {mode}").must_be_ok()
    assert kernel.run(LOOK).printed == "1.5 1 True False price(item: str) -> float Tells what it costs.\n"
    signature = "price(item: str, city: str = 'Ulm') -> float"
    replies = ["<code>final_answer(price('tea'))</code>", "<code>final_answer(price('tea', city='Ulm'))</code>"]
    kernel.run(f"from smol_kernel import ScriptedModel\nm = ScriptedModel({replies})").must_be_ok()
    kernel.run("%%agent --model m -o before\nWhat does it cost?").must_be_ok()
    for text, said in ((SECOND, "22.5 22"), (SECOND.replace("22", "333"), "333.5 333")):
        (tmp_path / "shop.py").write_text(text)
        assert kernel.run(LOOK).printed == f"{said} True True {signature} Tells what it costs in a city.\n"
    kernel.run("%%agent --continue -o after\nAnd now?").must_be_ok()
    assert kernel.value("(before, after)") == (1.5, 333.5)


def test_what_a_module_imports_of_this_library_stays_as_it_is(kernel, tmp_path):
    names = ", ".join(smol_kernel.__all__)
    (tmp_path / "own.py").write_text(OWN.format(names, 1))
    kernel.run("%load_ext autoreload\n%autoreload 3\nimport own").must_be_ok()
    kernel.run("before = {each: {**vars(each)} for each in vars(own).values() if isinstance(each, type)}").must_be_ok()
    for value in (22, 333):
        (tmp_path / "own.py").write_text(OWN.format(names, value))
        assert kernel.run("print(own.value())").printed == f"{value}\n"
    changed = "[(each.__name__, name) for each, old in before.items() for name in {*old, *vars(each)} "
    changed += "if vars(each).get(name) is not old.get(name)]"
    assert kernel.value(changed) == []
