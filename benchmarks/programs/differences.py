"""The differences between the two libraries' answers that are meant, each with its reason.

A key is a program and the place in its result, with `*` for any text; the reason is a row of the table of known faults,
or a purposeful difference that docs/migrating-from-smolagents.md lists.
"""

EXPECTED_DIFFERENCES: dict[str, str] = {}
