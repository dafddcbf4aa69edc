"""Half of the test workers take files that start real processes, which mostly wait; the others, those that compute."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadFileScheduling

WAITING = "tests/integration/"


class TwoQueues(LoadFileScheduling):
    """pytest-xdist's distribution by file; a worker whose queue is empty helps with the other."""

    def _assign_work_unit(self, node: Any) -> None:
        waits = self.nodes.index(node) % 2 == 0
        of_its_kind = (file for file in self.workqueue if file.startswith(WAITING) == waits)
        if (file := next(of_its_kind, None)) is not None:
            self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)
