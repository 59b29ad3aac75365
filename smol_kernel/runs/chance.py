"""What of a script gives something else each time, as far as its text tells: the clock, random numbers, sets' order.

Used by `prove`: what answers by the clock or by chance is not called proved, even where it answers the same today.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence

from smol_kernel.runs.paths import imported, path_of
from smol_kernel.runs.source import Source
from smol_kernel.runs.sql_chance import sql_chance
from smol_kernel.runs.unseeded import SEED_NAMES, draws, may_draw, seeded_by_others, seeds_set_apart

_NOW = frozenset(["now", "utcnow", "today"])
_HAVE_NOW = frozenset(["datetime", "date", "Timestamp", "Period", "DateTime", "pendulum", "arrow"])
_READ_NOW_WORDS = "Timestamp to_datetime datetime64 DatetimeIndex Period date_range bdate_range period_range"
_READ_NOW = frozenset(_READ_NOW_WORDS.split())
"""What reads the words "now" and "today" as the moment."""
_MOMENT_NAMES = frozenset(["ts_input", "arg", "data", "value", "start", "end"])
"""Names of the arguments in which it does."""
_CLOCKS = frozenset(["time.time", "time.time_ns"])
_PLACES = (ast.Name, ast.Attribute)
_MOMENTS = {"time.localtime": 0, "time.gmtime": 0, "time.ctime": 0, "time.asctime": 0, "time.strftime": 1}
"""Functions that take the moment as the argument of that place, else it is now."""
_HOUR = re.compile(r"\d+:[\d:.]+")
_DATE_PARTS = re.compile(r"\d+|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.IGNORECASE)
_ALWAYS = frozenset("uuid.uuid1 uuid.uuid4 os.urandom os.getpid".split())  # noqa: SIM905
_GENERATORS = frozenset(["default_rng", "RandomState", "Random", "Generator", "SeedSequence", "PCG64", "MT19937"])
_SEEDED = {("seed", "random"), ("setstate", "random"), ("seed", "numpy.random"), ("set_state", "numpy.random")}
_SEEDS = frozenset(["seed", "setstate", "set_state"])
_SEEDING = frozenset(["manual_seed", "manual_seed_all", "set_random_seed"])
"""Functions that seed: those of two modules; of anything that has them; those of any module."""
_TABLE_NAMES = frozenset(["n", "frac", "weights", "replace"])
"""Names of the arguments of a table's `sample`."""
_DRAWN = "the cells draw random numbers without a seed (`{}`)"
_NO_DRAW = frozenset(["seed", "getstate", "setstate", "get_state", "set_state"])


def chance(cells: Iterable[str]) -> str:
    """What in the cells gives something else each time, as the end of a sentence; empty if nothing is seen."""
    nodes, names, seeded = read = _read(cells)
    spans = _stopwatches(nodes, names)
    origins = Origins(nodes, names)
    for node in nodes:
        if isinstance(node, ast.Call):
            path = path_of(node.func, names)
            if id(node) not in spans and _reads_clock(node, path):
                return f"the cells read the clock (`{ast.unparse(node.func)}`)"
            if _draws(node, path, seeded, origins) or _draws_from(node, path, seeded, origins):
                return _DRAWN.format(ast.unparse(node.func))
        elif isinstance(node, ast.Attribute) and node.attr in _NOW:
            root, _, path = ast.unparse(node.value).partition(".")
            if root in names and f"{names[root]}.{path}".rstrip(".").rpartition(".")[2] in _HAVE_NOW:  # by another name
                return f"the cells read the clock (`{ast.unparse(node)}`)"
    unseeded = _unseeded(*read, draws)
    return _DRAWN.format(unseeded) if unseeded else sql_chance(nodes)


def has_sets(cells: Iterable[str]) -> bool:
    """Whether the cells make sets, whose order is another one in each process."""
    return any(
        isinstance(node, (ast.Set, ast.SetComp))
        or (isinstance(node, ast.Name) and node.id in ("set", "frozenset"))
        or _is_of_keys(node)
        for node in _nodes(cells)
    )


def hint(cells: Sequence[str]) -> str:
    """What may be why the cells gave something else, as the end of a sentence."""
    nodes, names, seeded = _read(cells)
    if function := _unseeded(nodes, names, seeded, may_draw):
        return f": it may rest on what `{function}` draws without a seed"
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    if called & {"hash", "id"}:
        return ": `hash` and `id` give other numbers in each process"
    return ": it may rest on the order of a set, which is another one in each process" if has_sets(cells) else ""


def backwards(cell: str) -> str:
    """The cell with all its sets made by the builtin `set`, whatever that is."""
    source = Source(cell)
    if source.body is None or source.magics:
        return cell
    return ast.unparse(ast.fix_missing_locations(_Sets().visit(ast.Module(source.body, []))))


BACKWARDS = """
import builtins as _builtins


def _turned(base):
    class Kind(type):
        def __instancecheck__(cls, value):
            return isinstance(value, base)

    def made_by(name):
        def method(self, *others):
            value = getattr(base, name)(self, *others)
            return Turned(value) if type(value) is base else value

        return method

    class Turned(base, metaclass=Kind):
        def __iter__(self):
            return iter(list(base.__iter__(self))[::-1])

        def __repr__(self):
            return repr(base(list(self)))

        __hash__ = base.__hash__

    names = "__or__ __and__ __sub__ __xor__ __ror__ __rand__ __rsub__ __rxor__"
    names += " union intersection difference symmetric_difference copy"
    for name in names.split():
        setattr(Turned, name, made_by(name))
    if base is _set:
        def pop(self):
            value = next(iter(self))
            self.discard(value)
            return value

        Turned.pop = pop
    Turned.__name__ = Turned.__qualname__ = base.__name__
    return Turned


_set = _builtins.set
_builtins.frozenset = _turned(_builtins.frozenset)
_builtins.set = _turned(_set)
"""
"""Run before the cells, it turns their sets round: an answer that rests on the order is another one then."""


class _Sets(ast.NodeTransformer):
    def visit_Set(self, node: ast.Set) -> ast.AST:
        self.generic_visit(node)
        return _call_of_set(ast.List(node.elts, ast.Load()))

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        return _call_of_set(ast.ListComp(node.elt, node.generators))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _call_of_set(node) if _is_of_keys(node) else node


def _is_of_keys(node: ast.AST) -> bool:
    """Whether it makes a set of the views that a dict gives: `a.keys() & b.keys()`."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub))
        and not any(isinstance(side, ast.Constant) for side in (node.left, node.right))
        and any(
            isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute) and side.func.attr in ("keys", "items")
            for side in (node.left, node.right)
        )
    )


def _call_of_set(argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("set", ast.Load()), [argument], [])


def _nodes(cells: Iterable[str]) -> list[ast.AST]:
    bodies = [body for cell in cells if (body := Source(cell).body) is not None]
    return [node for body in bodies for node in ast.walk(ast.Module(body, []))]


def _read(cells: Iterable[str]) -> tuple[list[ast.AST], dict[str, str], set[str]]:
    """The nodes of the cells; the names of imports, with their paths; the modules that are given a seed."""
    nodes, seeded = _nodes(cells), set[str]()
    names = imported(nodes)
    for node in nodes:
        if isinstance(node, ast.Call) and _is_given(node):
            module, _, function = path_of(node.func, names).rpartition(".")
            if (function, module) in _SEEDED or function in _SEEDING:
                seeded.add(module)
    return nodes, names, seeded


def _unseeded(
    nodes: list[ast.AST], names: dict[str, str], seeded: set[str], draws: Callable[[ast.Call, str], bool]
) -> str:
    """The first function of a library that `draws` with no seed of its own, nor of numpy's; empty if there is none."""
    if seeded - {"random"} or seeds_set_apart(nodes):
        return ""
    calls = [(node, path_of(node.func, names)) for node in nodes if isinstance(node, ast.Call)]
    others = seeded_by_others(calls)
    return next((ast.unparse(call.func) for call, path in calls if id(call) not in others and draws(call, path)), "")


def _reads_clock(node: ast.Call, path: str) -> bool:
    *before, last = path.split(".")
    if last in _NOW:
        return bool(before) and before[-1] in _HAVE_NOW
    if last in _READ_NOW:
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in _MOMENT_NAMES)]
        words = [part for each in given for part in getattr(each, "elts", [each])]
        return any(isinstance(each, ast.Constant) and each.value in ("now", "today") for each in words)
    if path == "dateutil.parser.parse":
        told = any(keyword.arg == "default" for keyword in node.keywords)
        return not told and len(node.args) == 1 and _lacks_parts(node.args[0])
    return path in _CLOCKS or (path in _MOMENTS and len(node.args) <= _MOMENTS[path])


def _lacks_parts(date: ast.expr) -> bool:
    """Whether the text is less than a date: what is missing, `dateutil` takes from the day on which it reads it."""
    text = _HOUR.sub("", str(date.value)) if isinstance(date, ast.Constant) else "2000-01-01"
    return not re.search(r"\d{6}", text) and len(_DATE_PARTS.findall(text)) < len("ymd")


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
    if seeded - {"random"} or None in given or any(not _is_none(value) for value in told):
        return False
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
                case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _SEEDS and _is_given(node):
                    self._seeded.add(ast.unparse(value))
                case _:
                    pass

    def is_another(self, value: ast.expr, *, classes: bool, seen: frozenset[str] = frozenset()) -> bool:
        """Whether it is seen to be no table of pandas and no distribution: made by a class, but pandas' (if `classes`
        tell), or by a call that was given a seed, or opened as a file; or its own state was set."""
        while isinstance(value, ast.Attribute | ast.Subscript | ast.Call):
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
        made = [each for each in self._assigned.get(name, ()) if _root(each) != name]  # `a = a.fit(x)` is what it was
        return name in self._seeded or (
            bool(made)
            and name not in seen
            and all(self.is_another(each, classes=classes, seen=seen | {name}) for each in made)
        )

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


def _root(value: ast.expr) -> str:
    """The name that a chain of attributes, items and calls begins with."""
    while isinstance(value, ast.Attribute | ast.Subscript | ast.Call):
        value = value.func if isinstance(value, ast.Call) else value.value
    return value.id if isinstance(value, ast.Name) else ""
