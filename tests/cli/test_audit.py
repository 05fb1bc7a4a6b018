import pytest

from koodrive_async import Status
from koodrive_async.cli.audit import audit

C, G, R, U, N = Status


def bad(asked: str, told: dict[str, Status], before: str, after: str, **more: object) -> list[int]:
    """Which findings are bad."""
    settings = {"repeated": 0, "complete": True, **more}
    findings = audit(list(asked), told, before=set(before), after=set(after), **settings)  # type: ignore[arg-type]
    return [number for number, finding in enumerate(findings) if not finding.good]


def test_a_true_report() -> None:
    assert bad("abcde", {"a": C, "b": G, "c": R, "d": U, "e": N}, "b", "abd") == []
    assert bad("d", {"d": U}, "", "") == []


@pytest.mark.parametrize(
    ("told", "before", "after", "expected"),
    [
        ({"a": C}, "", "", [1]),
        ({"a": G}, "", "", [2]),
        ({"a": R}, "", "a", [3]),
        ({"a": N}, "", "a", [3]),
        ({}, "", "a", [0, 3]),
        ({}, "a", "a", [0]),
        ({"a": C, "b": C}, "", "ab", [0]),
    ],
)
def test_lies(told: dict[str, Status], before: str, after: str, expected: list[int]) -> None:
    assert bad("a", told, before, after) == expected


def test_two_outcomes_for_an_id() -> None:
    assert bad("a", {"a": C}, "", "a", repeated=1) == [0]


def test_what_was_not_read_needs_no_outcome_but_must_be_untouched() -> None:
    assert bad("ab", {"a": C}, "", "a", complete=False) == []
    assert bad("ab", {"a": C}, "", "ab", complete=False) == [3]
