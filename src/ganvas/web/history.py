"""What somebody did, as a tree: going back and doing something else loses nothing."""

from dataclasses import dataclass, field

from ganvas.web.state import State


@dataclass
class Step:
    """One node of the tree."""

    number: int
    parent: int | None
    state: State
    what: str
    """What led here, in a few words."""
    children: list[int] = field(default_factory=list)


class History:
    """The tree of steps and the one that is current."""

    def __init__(self, state: State, what: str = "start") -> None:
        self.steps = [Step(0, None, state, what)]
        self.current = 0

    @property
    def state(self) -> State:
        """Of the current step."""
        return self.steps[self.current].state

    def add(self, state: State, what: str) -> bool:
        """Continue from the current step; False when nothing changed."""
        if state == self.state:
            return False
        number = len(self.steps)
        self.steps.append(Step(number, self.current, state, what))
        self.steps[self.current].children.append(number)
        self.current = number
        return True

    def undo(self) -> bool:
        """Back to the step before; False at the root."""
        parent = self.steps[self.current].parent
        if parent is None:
            return False
        # The branch that was left is the one that redo takes.
        children = self.steps[parent].children
        children.remove(self.current)
        children.append(self.current)
        self.current = parent
        return True

    def redo(self) -> bool:
        """On to the step that was left last; False at a leaf."""
        children = self.steps[self.current].children
        if not children:
            return False
        self.current = children[-1]
        return True

    def go(self, number: int) -> None:
        """To any step."""
        if 0 <= number < len(self.steps):
            self.current = number

    def trail(self) -> list[State]:
        """States from the root to the current step."""
        found, at = [], self.current
        while True:
            found.append(self.steps[at].state)
            parent = self.steps[at].parent
            if parent is None:
                return found[::-1]
            at = parent

    def depth(self, number: int) -> int:
        """How many branchings lie above a step: the indent that a list shows it with."""
        found, at = 0, self.steps[number]
        while at.parent is not None:
            parent = self.steps[at.parent]
            found += min(parent.children) != at.number  # every branch but the oldest is set in
            at = parent
        return found
