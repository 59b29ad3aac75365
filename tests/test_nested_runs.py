"""Runs in which agents plan, call structured tools and each other: told in full, in order, and whose is whose."""

from __future__ import annotations

import re

import mistune
import nbformat
import pytest
from nested_events import (
    PLAN,
    back,
    call,
    replied,
    started,
    the_plan,
    two_at_once,
    whole_run,
)
from test_render import EVIL, Page, Terminal, assert_harmless, printed

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Compacted,
    FinalAnswer,
    ModelDelta,
    ModelFellBack,
    Output,
    PlanMade,
    RunFinished,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolProgress,
    ToolReturned,
)
from smol_kernel.journal import Journal
from smol_kernel.render.html import account_html, row_html, step_html
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.records import PlanRecord, Totals
from smol_kernel.render.text import account_text, note_text, totals_words
from smol_kernel.render.transcript import Transcript
from smol_kernel.render.tree import agent_tree
from smol_kernel.runs.notebook import to_notebook
from smol_kernel.runs.script import script_cells
from smol_kernel.tools.base import tool
from smol_magic.account import account as bundle
from smol_magic.view import LiveView

ACCOUNTS = [account_html, account_text, account_markdown]
ONE = {"run": "p", "step": 1}


def fold(events):
    return Transcript.from_events(events)


def words(html):
    return Page(html).words


# the fold


def test_each_run_stands_at_the_call_that_made_it():
    run = fold(whole_run())
    [step] = run.steps
    first, second = step.calls
    assert [[child.run for child in call.runs] for call in step.calls] == [["a"], ["b"]]
    assert first.runs[0].steps[0].calls[0].runs[0].run == "c"
    assert [child.run for child in step.runs] == ["w"]  # handed over: no call made it
    assert [child.run for child in run.family()] == ["a", "c", "b", "w"]
    assert (first.result, second.result) == ("'354 ppm'", "'355 ppm'")


def test_the_second_run_of_a_name_has_a_number():
    assert [child.label for child in fold(whole_run()).family()] == ["reader", "fetcher", "reader #2", "writer"]


def test_a_call_of_the_same_id_in_another_run_is_another_call():
    run = fold([e for e in whole_run() if not (isinstance(e, ToolReturned) and e.run == "p")])
    assert run.children["a"].steps[0].calls[0].result == "'354'"
    assert {call.result for call in run.steps[0].calls} == {"no answer: the action had ended"}


def test_tokens_and_costs_are_told_as_own_and_whole():
    run = fold(whole_run())
    assert (run.totals.tokens, run.totals.cost, run.totals.unpriced) == (3220, 0.0104, 0)
    assert (run.whole.input_tokens, run.whole.output_tokens) == (6110, 235)
    assert run.whole.seconds == 3.0
    assert totals_words(run) == ["6,345 tokens (3,220 its own)", "$0.0114 and an unknown cost"]
    assert totals_words(run.children["a"]) == ["1,050 tokens", "$0.0010"]
    assert totals_words(run.children["b"]) == ["2,060 tokens"]
    assert totals_words(Transcript()) == []


@pytest.mark.parametrize(
    ("costs", "told"),
    [([], ""), ([None], ""), ([0.0], ""), ([0.0, None], "$0.00 and an unknown cost"), ([0.0012, 1.5], "$1.50")],
)
def test_an_unknown_cost_is_told_beside_a_known_one_only(costs, told):
    totals = Totals()
    for cost in costs:
        totals.add(replied("p", 1, 1, 1, cost))
    assert totals.cost_words == told


def test_a_plan_stands_before_its_step_and_its_words_are_not_the_steps():
    run = fold([started("p", "t"), *the_plan(), StepStarted(**ONE), ModelDelta(**ONE, text="I look")])
    plan, step = run.rows
    assert isinstance(plan, PlanRecord)
    assert (plan.text, plan.state, plan.totals.tokens) == (PLAN, "ok", 120)
    assert (step.number, step.reply, step.tokens) == (1, "I look", None)
    assert run.totals.tokens == 120


def test_a_plan_streams_in_and_one_that_was_stopped_says_so():
    begun = [started("p", "t"), *the_plan()[:2]]
    plan = fold(begun).rows[0]
    assert (plan.text, plan.state, fold(begun).steps) == ("1. Have both reports read.", "thinking", [])
    assert " open>" in row_html(plan)
    stopped = fold([*begun, RunFinished(run="p", state="interrupted", error="Stopped.")])
    assert stopped.rows[0].state == "interrupted"
    assert "stopped" in words(row_html(stopped.rows[0]))


def test_a_second_plan_is_a_new_one():
    again = [PlanMade(run="p", step=3, plan="Stop here.")]
    run = fold([started("p", "t"), *the_plan(), StepStarted(**ONE), StepFinished(**ONE), *again])
    assert [row.title for row in run.rows if isinstance(row, PlanRecord)] == ["The plan", "A new plan"]


@pytest.mark.parametrize("purpose", ["answer", "summary"])
def test_what_the_model_says_for_another_purpose_is_not_the_steps_reply(purpose):
    other = [ModelDelta(**ONE, text="In short:"), replied("p", 1, 7, 1, purpose=purpose, content="In short: 3")]
    asking = fold([started("p", "t"), StepStarted(**ONE), *other, ModelDelta(**ONE, text="I look")])
    assert asking.steps[0].reply == "I look"
    assert asking.totals.tokens == 8
    over = fold([started("p", "t"), StepStarted(**ONE), replied("p", 1, 1, 1, content="mine"), *other])
    assert (over.steps[0].reply, over.steps[0].tokens) == ("mine", 2)


def test_an_end_leaves_no_called_agent_at_work():
    events = whole_run()
    cut = next(place for place, event in enumerate(events) if isinstance(event, ToolProgress))
    run = fold([*events[:cut], RunFinished(run="p", state="error", error="no credit")])
    assert [child.state for child in run.family()] == ["interrupted"] * 3
    assert {step.state for child in run.family() for step in child.steps} == {"interrupted"}
    assert "running" not in account_text(run)


def test_several_runs_of_one_call_stand_there_one_after_the_other():
    events = [started("p", "t"), StepStarted(**ONE), call("p", 1, "c1", "panel", "panel()")]
    events += [started(name, f"Task of {name}.", name="judge", parent="p", call="c1") for name in "ab"]
    run = fold(events)
    assert [child.label for child in run.steps[0].calls[0].runs] == ["judge", "judge #2"]
    for told in (account(run) for account in ACCOUNTS):
        assert told.index("Task of a.") < told.index("judge #2") < told.index("Task of b.")


def test_a_run_called_before_any_step_is_told_too():
    run = fold([started("p", "t"), started("a", "Early bird.", name="early", parent="p")])
    assert run.rows == [run.children["a"]]
    for told in (account(run) for account in ACCOUNTS):
        assert "Early bird." in told


def test_a_family_from_the_journal_is_the_same_as_it_was_live(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    events = whole_run()
    for event in events:
        journal.append(event)
    assert fold(journal.events("p", family=True)) == fold(events)
    journal.close()


# the accounts


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_account_tells_what_each_agent_did(account):
    told = account(fold(whole_run()))
    for said in (
        "Have both reports read.", "Read the report of 1990.", "Have it fetched.", "200 OK", "ValueError: no number",
        "reader #2", "Calls fetch, unit", "Out of steps.", "writer", "handed over to writer",
    ):  # fmt: skip
        assert said in told
    assert told.index("Read the report of 1991.") > told.index("354 ppm")


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_of_nested_runs_is_the_same_each_time(account):
    told = account(fold(whole_run()))
    assert told == account(fold([event for event in whole_run() if event.durable]))
    assert "tok" not in told.replace("tokens", "")
    assert "$0." not in told


def test_accounts_with_nested_runs_are_harmless():
    run = fold(whole_run(f"{EVIL}\n```\n{EVIL}\x1b[2J"))
    assert_harmless(account_html(run))
    for row in run.rows:
        assert_harmless(row_html(row))
    for plugins in (None, ["table", "url"]):
        page = Page(mistune.create_markdown(escape=False, plugins=plugins)(account_markdown(run)))
        assert not page.tags & {"img", "a", "script"}
    assert not any("\x1b" in account(run) for account in ACCOUNTS)


def test_a_called_agent_is_open_while_it_is_at_work_and_its_done_steps_are_lines_then():
    events = whole_run()
    cut = next(place for place, e in enumerate(events) if isinstance(e, RunFinished) and e.run == "c")
    at_work = step_html(fold(events[:cut]).steps[0], open=True)
    assert at_work.count('<details class="smol-sub" open>') == 3
    assert "3 of 10 · pages" in words(at_work)
    assert "200 OK" not in at_work
    done = step_html(fold(events).steps[0], open=True)
    assert '<details class="smol-sub" open>' not in done
    assert "200 OK" in done


def test_a_run_without_such_things_has_the_style_sheet_it_always_had():
    alone = [started("p", "t"), StepStarted(**ONE), ActionProposed(**ONE, thought="T", code="1")]
    assert ".smol-sub" not in account_html(fold(alone))
    assert ".smol-sub" in account_html(fold([*alone, Compacted(**ONE, steps=[])]))


@pytest.mark.parametrize(
    ("steps", "told"), [([], "earlier steps"), ([4], "step 4"), ([1, 3], "steps 1 and 3"), ([2, 3, 4], "steps 2 to 4")]
)
def test_which_steps_were_shortened_is_told_in_words(steps, told):
    assert told in note_text(Compacted(steps=steps))


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_run_out_of_budget_says_so_and_keeps_its_best_answer(account):
    ended = RunFinished(run="p", state="budget", error="The budget of $0.10 is used up.")
    told = account(fold([started("p", "t"), FinalAnswer(run="p", value="42", text="42"), ended]))
    for said in ("out of budget", "The budget of $0.10", "42"):
        assert said in re.sub("</?code>|`", "", told)


# structured calls


def structured(*, ok=True):
    """A run of an agent that acts by structured calls: two at once, then the answer."""
    code = "search(query='x')\nadd(a=1, b=2)"
    two = {"run": "p", "step": 2}
    return [
        started("p", "Find it.", agent="ToolCallingAgent", tools=["search", "add", "final_answer"]),
        StepStarted(**ONE),
        replied("p", 1, 10, 1, content="", tool_calls=[{"id": "c1"}, {"id": "c2"}]),
        ActionProposed(**ONE, thought="", code=code),
        call("p", 1, "c1", "search", "search(query='x')"),
        *([call("p", 1, "c2", "add", "add(a=1, b=2)"), back("p", 1, "c2", "add", "3")] if ok else []),
        back("p", 1, "c1", "search", "'found'" if ok else "TypeError: no", ok),
        ActionFinished(**ONE, status="ok" if ok else "error", completed=2 * ok, error_type=None if ok else "TypeError"),
        StepFinished(**ONE),
        StepStarted(**two),
        replied("p", 2, 10, 1, content="Done.", tool_calls=[{"id": "c3"}]),
        ActionProposed(**two, thought="Done.", code="final_answer('found')"),
        ActionFinished(**two, status="ok", completed=1, final=True),
        StepFinished(**two),
        FinalAnswer(run="p", value="found", text="found"),
        RunFinished(run="p", state="success", steps=2),
    ]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_structured_calls_are_told_once_with_what_came_back(account):
    told = re.sub("</?code>|`", "", account(fold(structured())))
    assert told.count("add(a=1, b=2)") == 1
    assert " search(query='x') → 'found'".replace("'", "&#x27;" if "<" in told else "'") in told
    assert "Calls search, add" in told


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_structured_call_that_was_never_made_stands_in_the_code(account):
    assert "add(a=" in re.sub("<.*?>", "", account(fold(structured(ok=False))))


@pytest.mark.parametrize(
    ("events", "title"),
    [
        ([], "Asking the model"),
        ([replied("p", 1, 1, 1, content="", tool_calls=[{}])], "Asking the model"),
        (
            [replied("p", 1, 1, 1, content="", tool_calls=[{}]), StepFinished(**ONE, error_type="E")],
            "A call that could not be made",
        ),
        (structured()[2:4], "Calls search, add"),
    ],
)
def test_a_step_of_structured_calls_has_a_title(events, title):
    assert fold([started("p", "t"), StepStarted(**ONE), *events]).steps[0].title == title


def test_structured_calls_on_the_console_and_as_cells():
    text = printed(structured())
    assert text.count("search(query='x')") == 1
    assert text.index("1. ") < text.index("▸ add(a=1, b=2) → 3") < text.index("▸ search(query='x') → 'found'")
    notebook = to_notebook(fold(structured()))
    nbformat.validate(notebook)
    calls = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert calls.source == "search(query='x')\nadd(a=1, b=2)"
    assert calls.outputs[0].text == "▸ search(query='x') → 'found'\n▸ add(a=1, b=2) → 3\n"
    assert [cell.source for cell in script_cells(fold(structured())) if cell.kind == "code"] == [
        "search(query='x')\nadd(a=1, b=2)",
        "'found'",
    ]


# the console


def test_lines_of_agents_at_work_side_by_side_say_whose_they_are():
    lines = printed(whole_run()).splitlines()
    places = [lines.index(line) for line in (
        "Plan",
        "   reader │ Read the report of 1990.",
        "   reader #2 │ Read the report of 1991.",
        "   reader │ 1. Have it fetched.",
        "      fetcher │ Fetch 1990",
        "   reader #2 │    ▸ unit(of=\"co2\") → 'ppm'",
        "      fetcher │ → 354",
        "   reader │    ▸ fetcher('1990') → '354'",
        "   reader │    ValueError: no number",
        "   reader │ out of steps: Out of steps.",
        "   ▸ reader('1990') → '354 ppm'",
        "   handed over to writer: it writes better",
        "   One of two.",
        "   Two of two.",
        "   writer │ → 1 ppm more",
        "done · not isolated · 1 step · 1 failed check"
        " · 6,345 tokens (3,220 its own) · $0.0114 and an unknown cost · 3.0 s",
    )]  # fmt: skip
    assert places == sorted(places)
    assert not any("callback" in line for line in lines)


def test_the_line_on_what_goes_on_follows_the_agents(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(whole_run(), stream=Terminal())
    for waiting in ("making a plan…", "1. asking the model…", "reader │ 1. asking the model…", "3 of 10 · pages …"):
        assert f"{waiting}\r\x1b[2K" in text
    assert text.count("making a plan…") == 1


def test_nothing_of_a_called_agent_steers_the_terminal_or_begins_a_line_of_its_own():
    text = printed([started("p", "t"), *the_plan(), StepStarted(**ONE), *two_at_once("\x1b[2J\x07\nAnswer")])
    assert "Answer" in text and "\x1b" not in text
    assert all("│" in line for line in text.splitlines() if "Answer" in line)


def test_an_unfinished_line_of_the_parent_ends_before_a_called_agent_speaks():
    begun = [started("p", "t"), StepStarted(**ONE), Output(**ONE, channel="stdout", text="half ")]
    text = printed(
        [*begun, started("a", "Mine.", name="other", parent="p"), Output(**ONE, channel="stdout", text="x\n")]
    )
    assert "   half\n   other │ Mine.\n   x\n" in text


# the live view


@pytest.fixture
def view(capsys):
    live = LiveView(Transcript(), lambda: None)
    yield live
    live.fold(None)


def drawn(view):
    view._draw()
    parts = [part.value for part in view._steps.children]
    cards = ["".join(parts[at : at + 3]) for at in range(0, len(parts), 3)]
    return cards, words(f"{view._now.value} · {view._facts.value}")


def test_the_live_view_draws_what_called_agents_do(view):
    for event in whole_run():
        if isinstance(event, ToolProgress):
            break
        view.feed(event)
    cards, now = drawn(view)
    assert len(cards) == 2  # the plan, and the step
    assert "step 1 of 5 · reader: waiting for fetcher · fetcher: the model is asked · reader #2: waiting for" in now
    assert "reader #2: waiting for fetch, unit · 6,330 tokens (3,220 its own) · $0.0114 and an unknown cost" in now
    view.feed(event)
    cards, now = drawn(view)
    assert "3 of 10 · pages" in words(cards[1])
    assert "reader #2: waiting for fetch 3 of 10 · pages" in now


def test_the_live_view_changes_with_the_last_detail(view):
    seen = set()
    for event in whole_run():
        view.feed(event)
        if isinstance(event, (ActionProposed, ToolCalled, ToolProgress, ToolReturned, ModelFellBack, FinalAnswer)):
            if event.run == "p" and isinstance(event, FinalAnswer):
                break
            cards = tuple(drawn(view)[0])
            assert cards not in seen, event
            seen.add(cards)


def test_the_metadata_of_the_account_counts_the_whole_family():
    details = bundle(fold(whole_run()))[1]["smol"]
    assert (details["input_tokens"], details["output_tokens"], details["seconds"]) == (6110, 235, 3.0)
    assert details["cost"] == pytest.approx(0.0114)


# the notebook, and the tree


def test_the_exported_notebook_tells_what_called_agents_did():
    notebook = to_notebook(fold(whole_run(EVIL)))
    nbformat.validate(notebook)
    plan, step, code, beside = notebook.cells[1:5]
    assert "Have both reports read." in plan.source
    assert (step.id, code.cell_type, beside.id) == ("step-1", "code", "step-1-beside")
    for said in ("**reader #2**", "> > **fetcher**", "page = fetcher('1990')", "handed over to writer"):
        assert said in beside.source
    assert "- `reader`: an agent" in notebook.cells[0].source
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not Page(mistune.create_markdown(escape=False)(cell.source)).tags & {"img", "a", "script"}


@tool
def search(query: str, limit: int = 3) -> str:
    """Finds pages.

    Args:
        query: What to look for.
        limit: How many.
    """
    return query


class Agent:
    def __init__(self, name=None, description=None, tools=(), managed_agents=()):
        self.name, self.description = name, description
        self.tools = {tool.name: tool for tool in tools}
        self.managed_agents = {agent.name: agent for agent in managed_agents}
        self.model = type("Model", (), {"model_id": "m/1"})()


def test_an_agent_is_drawn_as_a_tree():
    inner = Agent("inner", "Digs deeper.\nMuch deeper.", [search])
    outer = Agent("outer", "Digs.", [], [inner])
    root = Agent(tools=[search], managed_agents=[outer, inner])
    assert agent_tree(root).splitlines() == [
        "Agent · m/1",
        "├─ search(query: str, limit: int = 3) -> str — Finds pages.",
        "├─ outer: Agent · m/1 — Digs.",
        "│  └─ inner: Agent · m/1 — Digs deeper.",
        "│     └─ search(query: str, limit: int = 3) -> str — Finds pages.",
        "└─ inner: Agent · m/1 — Digs deeper.",
        "   └─ search(query: str, limit: int = 3) -> str — Finds pages.",
    ]
    inner.managed_agents["outer"] = outer
    assert "outer: Agent · m/1 — Digs. (as above)" in agent_tree(root)
    assert agent_tree(Agent("a\x1b[2J\nb")) == "a b: Agent · m/1"
