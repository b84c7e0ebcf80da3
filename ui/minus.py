"""Writes the numbers of a table with a real minus sign, which the formats of a table's columns do not have."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn.store.shapes import JsonView

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def written(
    rows: Sequence[JsonView], forms: Mapping[str, Callable[[float], str]]
) -> "Styler | Sequence[JsonView]":
    """Return the rows as a table that shows these columns as the functions write them, and sorts them as numbers.

    A column of the table's configuration that has a format of its own is shown by that. What is missing is a dash.
    Rows come back as they are where there is no such column.
    """
    if not forms or not rows:
        return rows
    import pandas as pd

    table = pd.DataFrame(list(rows))
    for name in forms:
        # A column without any value is a column of numbers too.
        table[name] = pd.to_numeric(table[name])
    return table.style.format(dict(forms), na_rep="–")
