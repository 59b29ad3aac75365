"""The words of an action that asks, as a person reads them."""

from __future__ import annotations

import pytest

from smol_kernel.tools.asked import asked_text


@pytest.mark.parametrize("table", ["12 | some name | 3.14\n" * 20, "12 | some name | 3.14\n" * 60, "x" * 90_000 + "\n"])
def test_the_question_behind_a_long_table_stays(table):
    told = asked_text(table + "Which row shall I delete? ")
    first, *rows, last = told.split("\n")
    assert first == "The agent's code asks. What you type goes to it:"
    assert rows[-1] == "   | Which row shall I delete?" and len(rows) <= 40
    assert last == "Your answer: "
    assert all(row.startswith("   | ") for row in rows)


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("name? ", "   | name? "),
        ("", "   | "),
        ("Go on?\n(1) yes\n(2) no ", "   | Go on?\n   | (1) yes\n   | (2) no\nYour answer: "),
        ("Go on?\n", "   | Go on?\nYour answer: "),
    ],
)
def test_an_answer_stands_behind_a_question_of_one_line_and_below_a_longer_one(prompt, shown):
    assert asked_text(prompt).partition("\n")[2] == shown
