"""A file that says it is a run is taken for one only if it is: nothing of it reaches another run or a terminal."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import tracemalloc
import zlib
from collections import Counter
from dataclasses import replace

import pytest
from nested_events import started, whole_run
from PIL import Image
from scripted_replies import code

from smol_kernel import CodeAgent, LogLevel, ScriptedModel
from smol_kernel.errors import ConfigError
from smol_kernel.events import (
    ActionFinished,
    Event,
    FilesMade,
    Notice,
    Output,
    RunFinished,
    RunStarted,
    StepStarted,
    ToolCalled,
    ToolReturned,
)
from smol_kernel.journal import Journal
from smol_kernel.render.text import account_text
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs import exporting, importing
from smol_kernel.runs.exporting import FORMS, export, record_of
from smol_kernel.runs.importing import import_run
from smol_kernel.runs.prove import prover_of
from smol_kernel.serve.cli import main


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    journal = Journal()
    journal.append_all([started("mine", "My own."), StepStarted(run="mine", step=1)])
    journal.cut_off("mine")
    return journal


def events_of(run: list[Event]) -> list[Event]:
    return [event for event in run if event.durable]


def came(event):
    """The event as it is kept of a run that was imported."""
    return replace(event, origin={**event.origin, "imported": True}) if isinstance(event, RunStarted) else event


def written(tmp_path, data, name="given.json"):
    (tmp_path / name).write_text(data if isinstance(data, str) else json.dumps(data))
    return tmp_path / name


def test_a_whole_family_comes_back_in_both_forms(journal, tmp_path):
    events = events_of(whole_run("\ud800 \0"))
    for name in ("run.ipynb", "run.json"):
        other = Journal(tmp_path / f"{name}.sqlite")
        path = export(events, tmp_path / name)
        assert import_run(path, other).remarks == []
        assert other.events("p", family=True) == [came(event) for event in events]
        assert [run.run for run in other.runs()] == ["p"]
        assert import_run(path, other).new is False
        export(other.events("p", family=True), path, overwrite=True)
        assert import_run(path, other).remarks == ["The run was in the journal already."]
    assert other.unseen() == []  # nobody is offered what he did not run


def test_an_agent_that_was_called_comes_back_alone(journal, tmp_path):
    journal.append_all(events_of(whole_run()))
    path = export(journal.events("a", family=True), tmp_path / "a.json")
    assert import_run(path, journal).new is False
    other = Journal(tmp_path / "other.sqlite")
    other.append(started("p", "Another run of the id that its caller has."))
    assert "stands for itself now" in import_run(path, other).remarks[0]
    assert [run.run for run in other.runs()][-2:] == ["a", "p"] or {run.run for run in other.runs()} == {"a", "p"}
    assert import_run(path, other).new is False


def test_a_run_that_goes_on_from_one_that_is_not_here_says_so(journal, tmp_path):
    path = export([started("later", "Go on.", continues="earlier")], tmp_path / "later.json")
    said = "It goes on from run earlier, which is not here: to resume or fork it, import that too."
    assert import_run(path, journal).remarks == [said]
    path = export([started("own", "Go on.", continues="mine")], tmp_path / "own.json")
    assert import_run(path, journal).remarks == []
    path = export([started("odd", "Go on.", continues="\x1b[2J")], tmp_path / "odd.json")
    with pytest.raises(ConfigError, match="continues cannot be"):
        import_run(path, journal)


def test_other_runs_of_these_ids_are_left_alone(journal, tmp_path):
    path = export(events_of(whole_run()), tmp_path / "run.json")
    before = [started("c", "Another, of an id that a called agent has.")]
    journal.append_all(before)
    done = import_run(path, journal)
    family = journal.events(done.run, family=True)
    assert done.run != "p" and len(family) == len(events_of(whole_run()))
    assert not {event.run for event in family} & {"p", "a", "b", "c", "w"}
    assert len(Transcript.from_events(family).children) == len(Transcript.from_events(whole_run()).children)
    assert journal.events("c", family=True) == before
    assert import_run(path, journal).run == done.run


FIELDS = {
    "run": [None, 3, "", "a b", "\x1b[31m", "x" * 65, "../x"],
    "step": ["1", 1.5, True, -1, 10**30],
    "time": ["now", None, float("nan"), float("inf"), 1e18, -1],
    "task": [None, 7, ["a"]],
    "origin": [[], "x"],
    "tools": ["x", [1], ["a`b"], ["a b"], [""], ["\x1b[2J"], ["a" * 300], ["\u202ea"]],
    "inputs": [{"a": 1}, [], {"\x1b[2J": "int"}, {"a\nb": "int"}, {"\u202ea": "int"}, {"a" * 300: "int"}],
    "values": [{"a": 1}, {"\x1b[2J": {}}, {"a\u2066": {}}],
    "scripted": [1, "no"],
    "isolation": ["\x1b]0;x\x07", "x" * 300],
    "forked": [{"time": value} for value in ("now", None, True, float("nan"), 1e18, -1)],
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_another_type_is_refused(journal, tmp_path, name):
    for value in FIELDS[name]:
        data = record_of(events_of(whole_run()))
        data["events"][0][name] = value
        with pytest.raises(ConfigError, match="event 1: "):
            import_run(written(tmp_path, data), journal)
    assert [run.run for run in journal.runs()] == ["mine"]


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
EPS = base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(drawn by Ghostscript) print\n").decode()


@pytest.mark.parametrize(
    ("added", "why"),
    [
        (Output(run="p", channel="display", data={"image/png": EPS}), "it is not a PNG"),
        (Output(run="p", channel="result", data={"text/plain": "x", "image/jpeg": PIXEL}), "it is not a JPEG"),
        (Output(run="p", channel="display", data={"image/png": "A" * 12_000_000}), "9,000,000 bytes"),
        (ToolCalled(run="p", call="z", tool="x` ![](http://e) `"), "a tool cannot be called"),
        (ToolReturned(run="p", call="z", tool="\x1b[2J", ok=True), "a tool cannot be called"),
    ],
)
def test_what_no_run_of_here_could_have_put_out_is_refused(journal, tmp_path, added, why):
    with pytest.raises(ConfigError, match=why):
        import_run(written(tmp_path, record_of([*events_of(whole_run()), added])), journal)
    assert [run.run for run in journal.runs()] == ["mine"]


MADE = {"path": "out/a.csv", "bytes": 3, "change": "made"}


@pytest.mark.parametrize(
    "file",
    [
        {},
        {"path": "a.csv"},
        *({**MADE, "path": value} for value in (None, 5, ["a"], {"a": 1})),
        *({**MADE, "bytes": value} for value in (None, [1], "3", 1.5, True, -1, 10**30)),
        *({**MADE, "change": value} for value in (None, "", "x", [1], {})),
        *({**MADE, "type": value} for value in (None, "file", "x", ["link"], {})),
    ],
)
def test_a_file_that_no_run_of_here_could_have_made_is_refused(journal, tmp_path, file):
    added = FilesMade(run="p", step=1, files=[MADE, file])
    with pytest.raises(ConfigError, match="a file that was made cannot be"):
        import_run(written(tmp_path, record_of([*events_of(whole_run()), added])), journal)
    assert [run.run for run in journal.runs()] == ["mine"]


def test_what_a_run_of_here_puts_out_comes_back(journal, tmp_path):
    names = {"my key": "int 1", "prix\u00a0€": "str"}
    events = [
        replace(
            event,
            inputs=names,
            values={"my key": {}},
            tools=["input", "größe"],
        )
        if isinstance(event, RunStarted) and event.run == "p"
        else event
        for event in events_of(whole_run())
    ]
    events += [
        Output(run="p", channel="display", data={"image/png": PIXEL, "text/html": "<b>"}),
        Output(run="p", channel="stdout", text="x"),
        ToolCalled(run="p", call="z", tool="input"),
        FilesMade(run="p", files=[MADE, {**MADE, "change": "removed", "type": "link"}], more=2, new=["out/a.csv"]),
        FilesMade(run="p", files=[{**MADE, "bytes": 0, "change": "changed", "type": "device"}]),
    ]
    import_run(export(events, tmp_path / "run.json"), journal)
    assert journal.events("p", family=True) == [came(event) for event in events]


@pytest.mark.parametrize(
    ("added", "why"),
    [
        (Notice(run="mine", text="Said in another run."), "run 'mine' has not begun"),
        (started("q", "A second run."), "run 'q' is no part of run 'p'"),
        (started("q", "A part of another run.", parent="mine"), "run 'q' is no part of run 'p'"),
        (started("a", "Again.", parent="p"), "run 'a' begins a second time"),
        (RunFinished(run="p", state="\x1b[2J"), "a run cannot end as"),
        (RunFinished(run="p", state="running"), "a run cannot end as"),
    ],
)
def test_what_is_no_part_of_the_run_is_refused(journal, tmp_path, added, why):
    data = record_of([*events_of(whole_run()), added])
    with pytest.raises(ConfigError, match=why):
        import_run(written(tmp_path, data), journal)
    assert [run.run for run in journal.runs()] == ["mine"]
    assert len(journal.events("mine")) == 2


def test_a_file_that_is_a_trap_is_refused(journal, tmp_path, monkeypatch):
    deep = json.dumps(record_of(events_of(whole_run()))).replace('"origin": {}', '"origin": {"a": %s}', 1)
    nested = [deep % ("[" * depth + "]" * depth) for depth in (400, 100_000)]
    packed = {"record": base64.b64encode(zlib.compress(nested[1].encode())).decode()}
    packed["digest"] = hashlib.sha256(nested[1].encode()).hexdigest()
    bomb = {"record": base64.b64encode(zlib.compress(b" " * 5_000_000)).decode()}
    bomb["digest"] = hashlib.sha256(b" " * 5_000_000).hexdigest()
    monkeypatch.setattr(importing, "LARGEST_RECORD", 1_000_000)
    for content in (
        *nested,
        "[" * 100_000,
        '{"format": "smol-kernel run", "schema": {}, "events": []}',
        "null",
        "\xff",
    ):
        with pytest.raises(ConfigError):
            import_run(written(tmp_path, content), journal)
    for ours in (packed, bomb, {"record": 1, "digest": 2}, {"record": "é", "digest": ""}, [], None):
        with pytest.raises(ConfigError, match=r"damaged|holds no run"):
            import_run(written(tmp_path, {"metadata": {"smol": ours}, "cells": []}, "given.ipynb"), journal)
    monkeypatch.setattr(importing, "LARGEST_FILE", 1_000)
    with pytest.raises(ConfigError, match="is larger than"):
        import_run(written(tmp_path, " " * 2_000), journal)
    for name in ("nowhere.json", "."):
        with pytest.raises(ConfigError):
            import_run(tmp_path / name, journal)
    assert [run.run for run in journal.runs()] == ["mine"]


@pytest.mark.parametrize("item", ['"aa",', "{},", "[],", '{"a":0},'])
def test_a_small_file_does_not_become_large_in_memory(journal, tmp_path, monkeypatch, item):
    size = 16 << 20
    monkeypatch.setattr(importing, "LARGEST_RECORD", size)
    many = f'{{"format": "smol-kernel run", "events": [{item * (size // len(item) - 100)}0]}}'.encode()
    packed = {"record": base64.b64encode(zlib.compress(many)).decode(), "digest": hashlib.sha256(many).hexdigest()}
    path = written(tmp_path, {"metadata": {"smol": packed}, "cells": []}, "given.ipynb")
    del many
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="damaged"):
            import_run(path, journal)
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


def test_a_run_of_many_numbers_and_a_large_picture_comes_back(journal, tmp_path):
    file = io.BytesIO()
    Image.frombytes("RGB", (700, 700), os.urandom(3 * 700 * 700)).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    event = Output(run="mine", channel="result", text="1,2\n" * 500_000, data=data)
    numbers = ActionFinished(run="mine", status="ok", value=list(range(200_000)))
    journal.append_all([event, numbers, numbers])
    for name in ("run.json", "run.ipynb"):
        other = Journal(tmp_path / f"{name}.sqlite")
        import_run(export(journal.events("mine"), tmp_path / name), other)
        assert other.events("mine")[1:] == journal.events("mine")[1:]


def test_a_notebook_holds_no_record_that_could_not_be_imported(monkeypatch):
    run = [started("own", "Go."), ActionFinished(run="own", status="ok", value=[0] * 50_000)]
    monkeypatch.setattr(exporting, "LARGEST_RECORD", 1 << 20)
    assert exporting.packed(run) == {}
    assert exporting.packed(run[:1])


def test_words_of_a_foreign_run_do_nothing_to_a_terminal(journal, tmp_path, capsys):
    events = events_of(whole_run("\x1b]0;own\x07\x1b[31m"))
    first = events[0]
    assert isinstance(first, RunStarted)
    events[0] = replace(first, model="\x1b[2Jm", name="\x1b[2Jn", agent="\x1b[2Ja", inputs={"x": "\x1b[2J"})
    assert main(["import", str(export(events, tmp_path / "run.json"))]) == 0
    assert main(["runs"]) == 0
    assert main(["show", "p"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "\x1b" not in account_text(Transcript.from_events(events))


def test_a_run_that_was_never_recorded_is_written_as_it_was_seen(tmp_path):
    transcript = Transcript.from_events(whole_run())
    for ending in FORMS:
        if ending in (".json", ".html"):
            with pytest.raises(ConfigError, match="not in the journal"):
                export([], tmp_path / f"run{ending}", transcript=transcript)
        else:
            assert "Compare the reports." in export([], tmp_path / f"run{ending}", transcript=transcript).read_text()
    with pytest.raises(ConfigError, match="holds no run"):
        import_run(tmp_path / "run.ipynb", Journal(tmp_path / "other.sqlite"))


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        for name in ("run.json", "run.ipynb", "run.md"):
            with pytest.raises(OSError, match="File too large"):
                export(events_of(whole_run()), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_where_a_run_came_from_does_not_say_how_it_is_boxed(journal, tmp_path):
    path = export([started("own", "Go.", isolation="none", origin={"isolation": "box"})], tmp_path / "own.json")
    import_run(path, journal)
    assert journal.find("own").isolation == "none"


class Forged:
    def __reduce__(self):
        return Counter, ({"a": 1_000},)


def test_no_proof_unpickles_what_stands_in_the_record_of_somebody_else(journal, tmp_path):
    model = ScriptedModel([code("final_answer(c['a'])")])
    with CodeAgent([], model, journal=journal, verbosity_level=LogLevel.OFF) as agent:
        assert agent.run("How many?", additional_args={"c": Counter("aab")}) == 2
        own = journal.events(agent.run_id, family=True)
    record = json.loads(export(own, tmp_path / "run.json").read_text())
    (kept,) = (event["values"]["c"] for event in record["events"] if event["kind"] == "run_started")
    assert "pickle" in kept  # else nothing is shown here
    kept["pickle"][0] = {"$": "bytes", "v": base64.b64encode(pickle.dumps(Forged())).decode()}
    path = written(tmp_path, json.dumps(record), "forged.json")
    other = Journal(tmp_path / "other.sqlite")
    theirs = other.events(import_run(path, other).run, family=True)
    assert prover_of(own, []).prove().proved and prover_of(theirs, []).prove().proved
