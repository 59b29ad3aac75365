"""For every test: no request to a model leaves this machine, and the user's journal and settings stay untouched."""

import gc
import signal
import sys

import pytest

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.scripted import ScriptedModel

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: tests send it themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)

SETTLED_BY = 150
"""So many modules more, and what is there is set aside again."""
_modules = 0


def set_aside():
    """Have the collector leave alone what stays, thousands of tests and modules: to reset a shell goes through all."""
    global _modules
    if len(sys.modules) > _modules + SETTLED_BY:
        gc.collect()
        gc.freeze()
        _modules = len(sys.modules)


def pytest_collection_finish():
    set_aside()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    set_aside()


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "default-journal.sqlite"))
    monkeypatch.delenv("SMOL_MODEL", raising=False)
    monkeypatch.delenv("SMOL_API_BASE", raising=False)


@pytest.fixture(autouse=True)
def no_child_waits():
    """A notebook's wish for children that are ready ends with its test."""
    yield
    if module := sys.modules.get("smol_kernel.executors.standby"):
        module.STANDBY.keep(0)
        module.STANDBY.close()


@pytest.fixture
def make(tmp_path):
    """Makes agents that play a script of replies, and ends their children afterwards."""
    made = []

    def make(replies, tools=(), kind=CodeAgent, **options):
        defaults = {"verbosity_level": LogLevel.OFF, "journal": tmp_path / "journal.sqlite"}
        model = options.pop("model", None) or ScriptedModel(replies)
        agent = kind(tools=list(tools), model=model, **{**defaults, **options})
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.cleanup()
