"""How far a run is, in time or in steps, and the learning rate that follows from it."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

from codax.errors import ConfigError
from codax.train.config import TrainConfig

__all__ = ["Box", "Clock"]


class Clock:
    """Time spent; a step counts at most five medians.

    So a stopped process does not burn its schedule. Compilation, saving and watching
    count in full.
    """

    def __init__(self) -> None:
        """Nothing is spent yet."""
        self.spent = 0.0
        self.recent: deque[float] = deque(maxlen=50)

    def add(self, seconds: float) -> None:
        """Counts a step."""
        self.recent.append(seconds)
        self.spent += min(seconds, 5 * statistics.median(self.recent))

    def add_whole(self, seconds: float) -> None:
        """Counts what is no step, in full."""
        self.spent += seconds


class Box:
    """How far a run is, in time or in steps, and what that means for the rate.

    Steps count from `first`, where the optimiser began. The branch remembers where it
    began (`branch_start`) and how much of it is done (`branch_share`): both are saved
    with its state.
    """

    def __init__(
        self,
        config: TrainConfig,
        minutes: float | None,
        steps: int | None,
        first: int,
        branch: Mapping[str, Any],
    ):
        """Makes the box of a run, with nothing done.

        Args:
            config: the run.
            minutes: a box of time, or None.
            steps: else a box of steps.
            first: the step at which the optimiser began.
            branch: `branch_start` and `branch_share` of a saved branch to go on from,
                or nothing.
        """
        share: float = config.branch
        if steps and share and not branch and not round(share * steps):
            raise ConfigError(
                f"steps: got {steps}, too few for a trunk and its branch; give more"
            )
        self.config, self.first = config, first
        self.steps: Any = steps
        self.seconds: Any = None if minutes is None else 60.0 * minutes
        self.clock = Clock()
        self.branch_start: Any = int(branch["branch_start"]) if branch else None
        self.branch_share = float(branch["branch_share"]) if branch else 0.0
        self._spent_before = 0.0

    def begin_branch(self, step: int) -> None:
        """Notes where the branch begins, unless it goes on from a saved state."""
        if self.branch_start is None:
            self.branch_start = step
        self._resumed_share, self._spent_before = self.branch_share, self.clock.spent
        if self.steps is not None and self.left_steps("branch", step) <= 0:
            raise ConfigError(
                f"steps: got {self.steps}, but {step - self.first} are done already; "
                "give more"
            )

    def left_steps(self, phase: str, step: int) -> int:
        """Steps until the phase ends, when the box is of steps."""
        count = self.steps
        if phase == "trunk":
            count -= round(self.config.branch * self.steps)
        return self.first + count - step

    def ended(self, phase: str, step: int) -> bool:
        """Whether a phase is over."""
        if self.steps is not None:
            return self.left_steps(phase, step) <= 0
        end = 1.0 - self.config.branch if phase == "trunk" else 1.0
        return self.clock.spent >= end * self.seconds

    def too_short(self, phase: str) -> bool:
        """Whether a phase that has its share of a box of time is over."""
        share = self.config.branch if phase == "branch" else 1.0 - self.config.branch
        return self.steps is None and share > 0

    def done(self, step: int) -> float:
        """The share of the whole box that is used, 0..1."""
        if self.steps is not None:
            return min(1.0, (step - self.first) / self.steps)
        return min(1.0, self.clock.spent / self.seconds)

    def seconds_left(self, step: int, k: int) -> float:
        """Until the box is used up, by the median of recent calls of k steps."""
        if self.steps is None:
            return max(0.0, self.seconds - self.clock.spent)
        recent = statistics.median(self.clock.recent or [0.0])
        return self.left_steps("branch", step) * recent / k

    def share(self, step: int) -> float:
        """The share of the branch that is done, 0..1."""
        if self.steps is not None:
            whole = self.first + self.steps - self.branch_start
            return (step - self.branch_start) / whole
        room = max(1e-9, self.seconds - self._spent_before)
        part = (self.clock.spent - self._spent_before) / room
        return self._resumed_share + (1.0 - self._resumed_share) * part

    def rate(self, phase: str, step: int) -> float:
        """The learning rate of a step."""
        config = self.config
        warm = min(1.0, (step - self.first + 1) / max(config.warmup, 1))
        if phase == "trunk":
            return config.rate * warm
        return config.rate * warm * max(0.0, 1.0 - self.share(step))

    def hard(self, phase: str, step: int) -> bool:
        """Whether the encoder is frozen by now."""
        return phase == "branch" and self.share(step) > 1.0 - self.config.hard
