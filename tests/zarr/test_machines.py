"""zarr's own state machines: a store does what a dict does, and a hierarchy what one in memory does."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine

from rinofs.zarr import RinoStore
from tests.campaign import rounds
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from rinofs import RinoFileSystem

SETTINGS = settings(
    max_examples=rounds(3, 100),
    stateful_step_count=rounds(10, 30),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not rounds(0, 1),
    database=None,
)


class Hierarchy(ZarrHierarchyStateMachine):
    """zarr's machine; as in its `LocalStore`, a folder stays when the last chunk in it is deleted."""

    @precondition(lambda self: bool(self.all_arrays) or bool(self.all_groups))
    @rule(data=st.data())
    def check_list_dir(self, data: st.DataObject) -> None:
        path = self.draw_directory(data)
        expected = set(self._sync_iter(self.model.list_dir(path)))
        listed = set(self._sync_iter(self.store.list_dir(path)))
        assert expected <= listed
        for name in listed - expected:
            assert self._sync_iter(self.store.list_prefix(f"{path.rstrip('/')}/{name}")) == []


@pytest.mark.soak
@both_modes
def test_keys_and_values(fs: RinoFileSystem) -> None:
    run_state_machine_as_test(lambda: ZarrStoreStateMachine(RinoStore(fs, "machine")), settings=SETTINGS)


@pytest.mark.soak
def test_groups_and_arrays(fs: RinoFileSystem) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=UserWarning, module="zarr"
        )  # of names that v3 advises against
        run_state_machine_as_test(lambda: Hierarchy(RinoStore(fs, "machine")), settings=SETTINGS)
