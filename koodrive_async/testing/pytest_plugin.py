"""A pytest plug-in: the fixture `koodrive` is a running emulator.

    @pytest.mark.koodrive(shares=250, edition="carrier")
    async def test_clean_up(koodrive):
        ...  # koodrive.url, koodrive.share_ids, koodrive.script(...)

`make_koodrive` starts as many as a test wants; `koodrive_env` points the variables `KOODRIVE_*` at one.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from koodrive_async.testing.emulator import Emulator


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "koodrive(**settings): settings of the emulator that the fixture `koodrive` starts"
    )


@pytest.fixture
def make_koodrive() -> Iterator[Callable[..., Emulator]]:
    """Starts emulators with the settings given; all of them stop with the test."""
    from koodrive_async.testing import Emulator

    with ExitStack() as stack:

        def make(**settings: Any) -> Emulator:
            return stack.enter_context(Emulator(**settings))

        yield make


@pytest.fixture
def koodrive(request: pytest.FixtureRequest, make_koodrive: Callable[..., Emulator]) -> Emulator:
    """A running emulator with 100 shares, or with the settings of the marker `koodrive`."""
    settings: dict[str, Any] = {"shares": 100}
    for marker in reversed(list(request.node.iter_markers("koodrive"))):
        settings.update(marker.kwargs)
    return make_koodrive(**settings)


@pytest.fixture
def koodrive_env(koodrive: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator of `koodrive`, with `KOODRIVE_ENDPOINT` and the credentials in the environment."""
    for name, value in koodrive.environ().items():
        monkeypatch.setenv(name, value)
    return koodrive
