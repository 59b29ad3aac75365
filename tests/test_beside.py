"""What cells run that does not stand in them is read: of what was handed in, and of modules in the folder."""

from __future__ import annotations

import sys

import pytest

from smol_kernel.runs.beside import MOST_MODULES, beside
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
        ("import loose.inner as i\nx = i.half()", "(`random` in `loose/inner.py`)"),
        ("import loose.inner\nx = loose.inner.half()", "(`random` in `loose/inner.py`)"),
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
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "inner.py").write_text(
        "from random import random\n\n\ndef half():\n    return random() / 2\n"
    )
    said = found(tmp_path, cell)
    assert reason in said and bool(reason) is bool(said)


def test_what_imports_itself_round_about_is_read_once(tmp_path):
    (tmp_path / "own" / "sub").mkdir(parents=True)
    (tmp_path / "own" / "__init__.py").write_text("from .core import mean\n")
    (tmp_path / "own" / "core.py").write_text("from .sub import stats\n\n\ndef mean(x):\n    return stats.mean(x)\n")
    (tmp_path / "own" / "sub" / "__init__.py").write_text("")
    (tmp_path / "own" / "sub" / "stats.py").write_text(
        "import random\nfrom .. import core\nfrom ..sub import stats\n\n\n"
        "def mean(x):\n    return random.random()\n\n\ndef other():\n    return core.mean([1])\n"
    )
    cell = "from own import mean\nx = mean([1, 2, 3])"
    assert len(beside([cell], {}, tmp_path)) == 4
    assert "(`random.random` in `own/sub/stats.py`)" in found(tmp_path, cell)


@pytest.mark.parametrize("name", ["Box[int]", "my-kind", "class", "1"])
def test_a_class_may_have_any_name(tmp_path, module, name):
    kind = type(name, (module.Scorer,), {"__module__": module.__name__})
    assert "(`date.today` in `s`)" in found(tmp_path, "x = s.old", s=kind())
    assert "(`date.today` in `Kind`)" in found(tmp_path, "x = Kind()", Kind=kind)
    assert not found(tmp_path, "x = s.add(1)", s=kind())


HELPERS = """\
import logging
import random
import uuid
from datetime import datetime

log = logging.getLogger(__name__)
log.info('loaded at %s', datetime.now())
RUN = uuid.uuid4()
DRAWN = []
DRAWN.append(random.random())


class Table:
    def shuffled(self):
        return random.random()

    def two(self):
        return two()


def two():
    return random.sample([1, 2, 3], 2)


def sample(df):
    return df.sample(2)


def load():
    print(f'[{datetime.now():%H:%M:%S}] loading')
    begun = datetime.now()
    if log:
        stamp = f'{begun:%H:%M}'
        log.info('at %s', stamp)
    RUN = [1, 2]
    return RUN


def run():
    return RUN


def drawn():
    return DRAWN
"""


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x = h.load()", ""),
        ("x = df.sample(2, random_state=0)", ""),
        ("sample = h.load()\nx = len(sample)", ""),
        ("from helpers import load, sample\nx = load()", ""),
        ("from helpers import *\nx = load()", ""),
        ("f = h.sample\nx = f(df)", "(`df.sample` in `helpers.py`)"),
        ("sample = h.sample\nx = sample(df)", "(`df.sample` in `helpers.py`)"),
        ("from helpers import *\nx = sample(df)", "(`df.sample` in `helpers.py`)"),
        ("from helpers import sample as s\nx = s(df)", "(`df.sample` in `helpers.py`)"),
        ("x = str(h.RUN)", "(`uuid.uuid4` in `helpers.py`)"),
        ("x = h.run()", "(`uuid.uuid4` in `helpers.py`)"),
        ("x = h.drawn()", "(`random.random` in `helpers.py`)"),
        ("t = h.Table()\nx = t.shuffled()", "(`random.random` in `helpers.py`)"),
        ("t = h.Table()\nx = t.two()", "(`random.sample` in `helpers.py`)"),
        ("t = h.Table()\nx = len(t)", ""),
    ],
)
def test_of_a_module_counts_what_the_cells_use(tmp_path, cell, reason):
    (tmp_path / "helpers.py").write_text(HELPERS)
    said = found(tmp_path, f"import helpers as h\n{cell}")
    assert reason in said and bool(reason) is bool(said)


SEEDS = ["random.seed(1)", "set_up()", "if True:\n    random.seed(1)", "import keras\nkeras.utils.set_random_seed(1)"]


@pytest.mark.parametrize("seeds", [*SEEDS, "from transformers import set_seed\nset_seed(1)"])
def test_the_seed_that_a_module_sets_counts(tmp_path, seeds):
    (tmp_path / "own.py").write_text(
        "import random\n\n\ndef set_up():\n    random.seed(1)\n\n\ndef draw():\n    return random.random()\n\n\n"
        f"{seeds}\n"
    )
    assert not found(tmp_path, "import own\nx = own.draw()")


def test_of_many_modules_none_is_read(tmp_path):
    for n in range(MOST_MODULES + 1):
        (tmp_path / f"own{n}.py").write_text(f"import own{n + 1}, random\nx = random.random()\n")
    assert beside(["import own0\nprint(own0.x)"], {}, tmp_path) == {}
    assert list(beside([f"import own{MOST_MODULES}"], {}, tmp_path)) == [f"own{MOST_MODULES}.py"]


def test_what_is_no_file_is_no_module(tmp_path):
    (tmp_path / "own.py").mkdir()
    assert beside(["import own\nx = own.y"], {}, tmp_path) == {}
