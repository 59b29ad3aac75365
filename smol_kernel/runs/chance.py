"""What of a script gives something else each time, as far as its text tells: the clock, random numbers, sets' order.

Used by `prove`: what answers by the clock or by chance is not called proved, even where it answers the same today.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence

from smol_kernel.runs.known import SEED_THEMSELVES, SEEDS
from smol_kernel.runs.other_names import called_otherwise
from smol_kernel.runs.paths import imported, path_of, root_of
from smol_kernel.runs.source import nodes_of
from smol_kernel.runs.sql_chance import sql_chance
from smol_kernel.runs.turned import has_sets, numbered
from smol_kernel.runs.unseeded import (
    LIBRARIES,
    SEED_NAMES,
    drawn_at_random,
    draws,
    is_seeded,
    may_draw,
    seeded_by_others,
    seeds_set_apart,
    state_of,
)

_NOW = frozenset(["now", "utcnow", "today"])
_HAVE_NOW = frozenset(["datetime", "date", "Timestamp", "Period", "DateTime", "pendulum", "arrow"])
_READ_NOW_WORDS = "Timestamp to_datetime datetime64 DatetimeIndex Period date_range bdate_range period_range"
_READ_NOW = frozenset(_READ_NOW_WORDS.split())
"""What reads the words "now" and "today" as the moment."""
_MOMENT_NAMES = frozenset(["ts_input", "arg", "data", "value", "start", "end"])
"""Names of the arguments in which it does."""
_CLOCKS = frozenset(["time.time", "time.time_ns"])
_PLACES = (ast.Name, ast.Attribute)
_LINKS = (ast.Attribute, ast.Subscript, ast.Call)
_MOMENTS = {"time.localtime": 0, "time.gmtime": 0, "time.ctime": 0, "time.asctime": 0, "time.strftime": 1}
"""Functions that take the moment as the argument of that place, else it is now."""
_ALWAYS = frozenset("uuid.uuid1 uuid.uuid4 os.urandom os.getpid".split())  # noqa: SIM905
_GENERATORS = frozenset(["default_rng", "RandomState", "Random", "Generator", "SeedSequence", "PCG64", "MT19937"])
_TABLE_NAMES = frozenset(["n", "frac", "weights", "replace"])
"""Names of the arguments of a table's `sample`."""
_DRAWN = "the cells draw random numbers without a seed (`{}`)"
_NO_DRAW = frozenset(["seed", "getstate", "setstate", "get_state", "set_state"])


def chance(cells: Iterable[str], beside: Mapping[str, str] | None = None) -> str:
    """What in the cells gives something else each time, as the end of a sentence; empty if nothing is seen. `beside`
    are other texts that they run, each by where it stands: a seed that is set in one of them is one for all."""
    texts = [("", list(cells)), *((where, [text]) for where, text in (beside or {}).items())]
    read = [_Text(text) for _, text in texts]
    seeded = set[str]().union(*(text.seeded for text in read))
    apart = any(seeds_set_apart(text.nodes) for text in read)
    for (where, _), text in zip(texts, read, strict=True):
        if found := _chance(text, seeded, apart):
            return f"{found[:-1]} in `{where}`)" if where else found
    return ""


def _chance(text: _Text, seeded: set[str], apart: bool) -> str:
    spans = _stopwatches(text.nodes, text.names)
    origins = Origins(text.nodes, text.names)
    for node in text.nodes:
        if isinstance(node, ast.Call):
            path = path_of(node.func, text.names)
            if id(node) not in spans and _reads_clock(node, path):
                return f"the cells read the clock (`{ast.unparse(node.func)}`)"
            if _draws(node, path, seeded, origins) or _draws_from(node, path, seeded, origins):
                return _DRAWN.format(ast.unparse(node.func))
        elif isinstance(node, ast.Attribute) and node.attr in _NOW:
            root, _, path = ast.unparse(node.value).partition(".")
            if root in text.names and f"{text.names[root]}.{path}".rstrip(".").rpartition(".")[2] in _HAVE_NOW:
                return f"the cells read the clock (`{ast.unparse(node)}`)"  # by another name
    for node, path in text.others:
        if _draws(node, path, seeded, origins):
            return _DRAWN.format(path)
    unseeded = _unseeded(text, seeded, apart, draws)
    return _DRAWN.format(unseeded) if unseeded else sql_chance(text.nodes)


def hint(cells: Sequence[str]) -> str:
    """What may be why the cells gave something else, as the end of a sentence."""
    text = _Text(cells)
    nodes = text.nodes
    if function := _unseeded(text, text.seeded, seeds_set_apart(nodes), may_draw):
        return f": it may rest on what `{function}` draws without a seed"
    if numbered(nodes):
        return ": `hash` and `id` give other numbers in each process"
    return ": it may rest on the order of a set, which is another one in each process" if has_sets(nodes) else ""


def hint_of_pictures(cells: Iterable[str]) -> str:
    """What may be why the cells drew something else, as the end of a sentence."""
    text = _Text(cells)
    calls = (node for node in text.nodes if isinstance(node, ast.Call))
    found = (drawn_at_random(node, path_of(node.func, text.names)) for node in calls)
    return next((f": {each}" for each in found if each), "")


class _Text:
    """Its nodes; the names of imports, with their paths; the modules that are given a seed; calls by other names."""

    def __init__(self, cells: Iterable[str]) -> None:
        self.nodes = nodes_of(cells)
        self.names = imported(self.nodes)
        self.seeded: set[str] = set()
        packages = {path.partition(".")[0] for path in self.names.values()}
        for node in self.nodes:
            if isinstance(node, ast.Call) and _is_given(node):
                module, _, function = path_of(node.func, self.names).rpartition(".")
                if function in SEEDS:
                    of_package = module.partition(".")[0] in packages and module not in SEED_THEMSELVES
                    self.seeded |= (of_package and SEEDS[function]) or {module}
        self.others = called_otherwise(self.nodes, self.names, {*LIBRARIES, "random", "numpy"}, is_seeded)


def _unseeded(text: _Text, seeded: set[str], apart: bool, draws: Callable[[ast.Call, str], bool]) -> str:
    """The first function of a library that `draws` with no seed of its own, nor of the state by which it does; empty
    if there is none."""
    if apart:
        return ""
    calls = [(node, path_of(node.func, text.names)) for node in text.nodes if isinstance(node, ast.Call)]
    calls += text.others
    calls = [(node, path) for node, path in calls if state_of(path) not in seeded]
    others = seeded_by_others(calls)
    return next((path.rpartition(".")[2] for call, path in calls if id(call) not in others and draws(call, path)), "")


def _reads_clock(node: ast.Call, path: str) -> bool:
    *before, last = path.split(".")
    if last in _NOW:
        return bool(before) and before[-1] in _HAVE_NOW
    if last in _READ_NOW:
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in _MOMENT_NAMES)]
        words = [part for each in given for part in getattr(each, "elts", [each])]
        return any(isinstance(each, ast.Constant) and each.value in ("now", "today") for each in words)
    return path in _CLOCKS or (path in _MOMENTS and len(node.args) <= _MOMENTS[path])


def _is_given(node: ast.Call) -> bool:
    """Whether a seed is given: None is none."""
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return not all(map(_is_none, given))


def _stopwatches(nodes: Sequence[ast.AST], names: dict[str, str]) -> set[int]:
    """Calls of the clock for no more than the time that something takes: `start = time()`, `time() - start`."""
    found: set[int] = set()
    for node in nodes:
        value = node.value if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and isinstance(node.right, _PLACES):
            value = node.left
        if isinstance(value, ast.Call) and path_of(value.func, names) in _CLOCKS:
            found.add(id(value))
    starts = {
        ast.unparse(target)
        for node in nodes
        if isinstance(node, ast.Assign) and id(node.value) in found
        for target in node.targets
        if isinstance(target, _PLACES)
    }
    differences = [node for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)]
    for node in differences:
        if id(node.left) in found and ast.unparse(node.right) not in starts:
            return set()  # what is taken from it is no other time
    spans = {id(side) for node in differences for side in (node.left, node.right)}
    for node in nodes:
        if (
            isinstance(node, _PLACES)
            and isinstance(node.ctx, ast.Load)
            and id(node) not in spans
            and starts
            and ast.unparse(node) in starts
        ):
            return set()  # the time itself is used
    return found


def _draws(node: ast.Call, path: str, seeded: set[str], origins: Origins) -> bool:
    *before, last = path.split(".")
    if path in _ALWAYS or (before and before[0] == "secrets") or last == "SystemRandom":
        return True
    if not before or before[-1] != "random" or before[0] not in ("random", "numpy"):
        return False
    if last in _GENERATORS:
        return not _is_given(node) and not origins.is_seeded_later(node)
    return last not in _NO_DRAW and ".".join(before) not in seeded


def _draws_from(node: ast.Call, path: str, seeded: set[str], origins: Origins) -> bool:
    """Whether it is `table.sample()` or `distribution.rvs()`, which draw by numpy's own state unless told otherwise.

    Other things have such methods as well: what comes of something else, as far as can be seen, is left out.
    """
    *before, last = path.split(".")
    if last not in ("sample", "rvs") or not isinstance(node.func, ast.Attribute) or before[-1:] == ["random"]:
        return False
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    told = [given[name] for name in SEED_NAMES if name in given]
    if "numpy.random" in seeded or None in given or any(not _is_none(value) for value in told):
        return False
    if seeded - {"random"} and not origins.is_of_pandas(node.func.value):
        return False  # it may be what that module draws from
    if last == "sample" and (
        given.keys() & {"k", "counts"} or (len(node.args) > 1 and not given.keys() & _TABLE_NAMES)
    ):
        return False  # as `random.Random.sample` is called
    classes = not given.keys() & _TABLE_NAMES  # what is told what only a table knows is one, whoever made it
    return last not in origins.methods and not origins.is_another(node.func.value, classes=classes)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


class Origins:
    """Where what the cells work with comes from, as far as it can be seen. `names` are those of imports, with paths."""

    def __init__(self, nodes: Sequence[ast.AST], names: dict[str, str]) -> None:
        self._names = names
        self._assigned: dict[str, list[ast.expr]] = {}
        self._seeded: set[str] = set()
        self.methods: set[str] = set()
        """Names of the methods of the cells' own classes."""
        for node in nodes:
            match node:
                case (
                    ast.Assign(targets=[ast.Name() | ast.Attribute() as target], value=value)
                    | ast.AnnAssign(target=target, value=ast.expr() as value)
                    | ast.withitem(context_expr=value, optional_vars=ast.Name() as target)
                ):
                    self._assigned.setdefault(ast.unparse(target), []).extend(_either(value))
                case ast.ClassDef(body=body):
                    self.methods |= {part.name for part in body if isinstance(part, ast.FunctionDef)}
                case ast.Attribute(value=value, attr="random_state", ctx=ast.Store()):
                    self._seeded.add(ast.unparse(value))
                case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in SEEDS and _is_given(node):
                    self._seeded.add(ast.unparse(value))
                case _:
                    pass

    def is_another(self, value: ast.expr, *, classes: bool, seen: frozenset[str] = frozenset()) -> bool:
        """Whether it is seen to be no table of pandas and no distribution: made by a class, but pandas' (if `classes`
        tell), or by a call that was given a seed, or opened as a file; or its own state was set."""
        while isinstance(value, _LINKS):
            if ast.unparse(value) in self._seeded:
                return True
            if isinstance(value, ast.Call):
                *_, name = path = path_of(value.func, self._names).split(".")
                if classes and path[0] != "pandas" and (name[:1].isupper() or name == "open"):
                    return True
                seeds = [each.value for each in value.keywords if each.arg in SEED_NAMES]
                if name not in ("sample", "rvs", "train_test_split") and not all(map(_is_none, seeds)):
                    return True
            value = value.func if isinstance(value, ast.Call) else value.value
        name = value.id if isinstance(value, ast.Name) else ""
        # `a = a.fit(x)` is what it was
        made = [each for each in self._assigned.get(name, ()) if root_of(each, _LINKS) != name]
        return name in self._seeded or (
            bool(made)
            and name not in seen
            and all(self.is_another(each, classes=classes, seen=seen | {name}) for each in made)
        )

    def is_of_pandas(self, value: ast.expr) -> bool:
        """Whether it, or what its name was given, is seen to be made by a function of pandas."""
        made = [value, *self._assigned.get(root_of(value, _LINKS), ())]
        calls = [part for each in made for part in ast.walk(each) if isinstance(part, ast.Call)]
        return any(path_of(call.func, self._names).startswith("pandas.") for call in calls)

    def is_seeded_later(self, made: ast.Call) -> bool:
        """Whether what a call makes gets a name and, under that name, a seed: `rng = Random()`, `rng.seed(3)`."""
        return any(each is made for name in self._seeded for each in self._assigned.get(name, ()))


def _either(value: ast.expr) -> list[ast.expr]:
    """The values of which it is one: `a or b`, `a if c else b`; None is none."""
    match value:
        case ast.BoolOp(values=values):
            pass
        case ast.IfExp(body=body, orelse=orelse):
            values = [body, orelse]
        case _:
            return [value]
    return [part for each in values for part in _either(each) if not _is_none(part)]
