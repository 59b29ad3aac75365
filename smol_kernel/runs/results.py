"""What a call gives that leaves all as it is, and what of it is shared. `calls` is built on it."""

from __future__ import annotations

from smol_kernel.runs import known
from smol_kernel.runs.expressions import NOTHING, Expressions
from smol_kernel.runs.given import Given
from smol_kernel.runs.tokens import Token, Value, items, kept

_NOT_GONE_THROUGH_WORDS = """print display type id isinstance issubclass repr str len hasattr getattr callable
hash bool format iter map filter zip enumerate chain islice tee starmap takewhile dropwhile zip_longest pairwise
cycle open partial"""
NOT_GONE_THROUGH = frozenset(_NOT_GONE_THROUGH_WORDS.split())
"""Functions that leave an iterator as it is."""
_NEW_ITEMS_WORDS = """map starmap accumulate reader DictReader iterrows itertuples groupby finditer walk scandir iterdir
glob rglob iglob imap imap_unordered as_completed"""
_NEW_ITEMS = frozenset(_NEW_ITEMS_WORDS.split())
"""Iterators whose items are made as they go."""
_OF_LISTS = frozenset(["json_normalize", "from_dict", "from_records"])
"""Functions of pandas that make a table of lists and dicts: they copy them."""
_WRAPPING = frozenset(["ChainMap", "memoryview", "SimpleNamespace", "partial", "UserDict", "namedtuple"])
_COPYING = "choices Counter OrderedDict copy deque dict frozenset list sample set sorted tuple"
_SHALLOW = known.MODELS | frozenset(_COPYING.split())
"""Models, and copies that share their items."""
_NEW_ARRAYS_WORDS = """array concatenate vstack hstack stack column_stack where sort unique full empty zeros_like
ones_like empty_like full_like copy concat merge to_datetime to_numeric cut qcut get_dummies crosstab"""
_NEW_ARRAYS = frozenset(_NEW_ARRAYS_WORDS.split())


class Results(Expressions):
    """Gives what calls give."""

    def result(self, name: str, package: str, receiver: Value, given: Given) -> Value:
        """What a call gives that leaves all as it is."""
        flat = bool(receiver) and all(token.flat for token in receiver)
        table = flat and all(token.table for token in receiver)
        makes_table = name in ("DataFrame", "Series") or (package == "pandas" and name in _OF_LISTS)
        makes_flat = package in ("numpy", "pandas") or makes_table or name.startswith("read_")
        foreign = bool(package) and package not in known.PURE_MODULES | known.TABLE_PACKAGES
        every = receiver | given.every
        if name == "defaultdict":
            return frozenset([Token(touchy=True, opaque=False, holds={Token(opaque=False), *every})])
        if name in known.ITERATORS or (name == "groupby" and package == "itertools"):
            made = {Token(holds=kept(every))} if name in _NEW_ITEMS else set[Token]()
            return frozenset([Token(once=True, opaque=False, holds=made | every)])
        if makes_flat:
            chunked = given.option("chunksize") is not None or given.option("iterator") is not None
            shares = name not in known.FRESH | _NEW_ARRAYS or given.is_shared
            shared = {token for token in every if token.flat or not makes_table} if shares else set[Token]()
            table = package in known.TABLE_PACKAGES and not chunked
            return frozenset([Token(flat=not chunked, table=table, foreign=foreign, once=chunked, holds=shared)])
        if flat and (name in known.COPIES or name in known.FRESH) and not given.is_shared:
            return frozenset([Token(flat=True, table=table)])
        made = bool(package) and not receiver and name not in known.PURE_FUNCTIONS
        if name in known.FINDING and (made or receiver) and not flat and package not in ("re", "regex"):
            found = every | items(every)
            return self.holder(found) if name == "findall" else found
        if name in known.FRESH:
            return frozenset([Token()])
        if flat:
            return frozenset([Token(flat=True, table=table, holds=set(every))])
        if name == "compile" and package in ("re", "regex"):  # a pattern, which cannot be changed
            return NOTHING
        if name in _WRAPPING:
            return frozenset([Token(holds=set(every))])
        if name in ("get", "min", "max", "next", "getattr", "first", "last", "nth") and not made:
            return items(every)
        got = every if name in NOT_GONE_THROUGH else kept(every)
        in_memory = name in ("StringIO", "BytesIO")
        result = Token(opaque=False, in_memory=in_memory, holds={*got, *items(got)})
        if name not in _SHALLOW:
            result.opaque = any(token.opaque for token in every) or any(token.inside for token in receiver)
            result.foreign = foreign
            whole = got if "load" in name or "parse" in name else every  # a file that is read is no part of it
            if made and whole and package not in known.PURE_MODULES:
                result.opaque = True  # it may be a part of what was given
                result.holds |= whole
            elif made and not result.opaque:  # such as a model: what it is fitted to is not changed with it
                result.inside = Token()
                result.holds.add(result.inside)
        return frozenset([result])
