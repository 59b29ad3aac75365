"""What cells run that does not stand in them is read: of what was handed in, and of modules in the folder."""

from __future__ import annotations

import sys

import pytest

from smol_kernel.runs.beside import beside
from smol_kernel.runs.chance import chance

MODULE = """\
import random
import time
from datetime import date
import numpy as np


def age(born): return date.today().year - born
def double(x): return took(lambda: 2 * x)
def took(f):
    begun = time.time()
    found = f()
    print(time.time() - begun)
    return found
def log(text): print(date.today(), text)
pick = lambda xs: xs[int(np.random.rand() * len(xs))]


class Scorer:
    def __init__(self):
        self.made = date.today()
    def predict(self, n): return self._coin() > n
    def _coin(self): return random.random()
    def add(self, x): return x + 1
    @property
    def old(self): return age(self.made.year)


if __name__ == "__main__":
    print(random.random())
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """A module of the user's in the folder, loaded; its name is another one in each test."""
    name = f"own_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    del sys.modules[name]


def found(folder, cell, **values):
    return chance([cell], beside([cell], values, folder))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x = f(1)", "the cells read the clock (`date.today` in `f`)"),
        ("x = s.predict(1)", "the cells draw random numbers without a seed (`random.random` in `s`)"),
        ("x = s.old", "the cells read the clock (`date.today` in `s`)"),
        ("x = Scorer()", "the cells read the clock (`date.today` in `Scorer`)"),
        ("x = p([1, 2])", "without a seed (`np.random.rand` in `p`)"),
        ("import numpy as np\nx = s.add(1) + g(2) + np.log(3)", ""),
        ("import random\nrandom.seed(1)\nx = s.predict(1)", ""),
        ("x = 1", ""),
    ],
)
def test_what_was_handed_in_is_read_as_far_as_it_is_used(tmp_path, module, cell, reason):
    values = {"f": module.age, "g": module.double, "p": module.pick, "Scorer": module.Scorer}
    values |= {"s": module.Scorer(), "n": 1, "path": tmp_path, "sys": sys}
    said = found(tmp_path, cell, **values)
    assert reason in said and bool(reason) is bool(said)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("import own\nx = own.age(1990)", "(`date.today` in `own.py`)"),
        ("from own import age as a\nx = a(1990)", "(`date.today` in `own.py`)"),
        ("import parts\nx = parts.half()", "(`random` in `parts/inner.py`)"),
        ("from parts.inner import half\nx = half()", "(`random` in `parts/inner.py`)"),
        ("import own\nimport numpy as np\nx = own.double(2) + np.log(3)", ""),
        ("import own, random\nrandom.seed(2)\nx = own.Scorer.predict(s, 1)", "`date.today` in"),
        ("import parts, random\nrandom.seed(2)\nx = parts.half()", ""),
        ("import broken, missing\nx = 1", ""),
    ],
)
def test_modules_of_the_folder_are_read_as_far_as_they_are_used(tmp_path, cell, reason):
    (tmp_path / "own.py").write_text(MODULE.partition("pick =")[0] + "class" + MODULE.partition("class")[2])
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("from .inner import half")
    (tmp_path / "parts" / "inner.py").write_text(
        "from random import random\nfrom . import half as h\n\n\ndef half():\n    return random() / 2\n"
    )
    said = found(tmp_path, cell)
    assert reason in said and bool(reason) is bool(said)
