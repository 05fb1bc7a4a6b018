"""Every row of the fault matrix has a test, or a line in README.md that says why not."""

import ast
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
ROWS = range(1, 96)

LINE = re.compile(r"^\| (\d+) \| (elsewhere|pending|struck) \| (.+) \|$", re.MULTILINE)
PLACE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NUMBERED = re.compile(r"^(?:async )?def test_(\d\d)_", re.MULTILINE)


@cache
def rows_with_tests():
    """The rows that some test is named after."""
    return {int(row) for path in TESTS.rglob("test_*.py") for row in NUMBERED.findall(path.read_text())}


@cache
def rows_in_the_table():
    return {int(row): (state, why) for row, state, why in LINE.findall((HERE / "README.md").read_text())}


def test_every_row_is_accounted_for():
    assert set(ROWS) - rows_with_tests() - set(rows_in_the_table()) == set()


def test_there_are_no_other_rows():
    assert rows_with_tests() | set(rows_in_the_table()) <= set(ROWS)


def test_no_row_is_given_up_or_put_off_that_has_a_test():
    """Then take it out of the table in tests/faults/README.md."""
    off = {row for row, (state, _) in rows_in_the_table().items() if state != "elsewhere"}
    assert off & rows_with_tests() == set()


def test_what_is_said_to_be_elsewhere_is_there():
    for state, why in rows_in_the_table().values():
        if state == "elsewhere":
            file, name = PLACE.fullmatch(why).groups()
            tree = ast.parse((TESTS.parent / file).read_text())
            assert name in {getattr(node, "name", None) for node in tree.body}
