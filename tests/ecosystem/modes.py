"""Running a test with the server's extensions and without."""

from __future__ import annotations

import pytest

both_modes = pytest.mark.parametrize("mode", ["extended", "plain"])
