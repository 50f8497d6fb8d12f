"""What somebody did, as a tree: going back and doing something else loses nothing."""

from dataclasses import dataclass, field

from ganvas.web.state import State

MOST_STEPS, MOST_LETTERS = 2000, 2**24
"""Steps that are kept, and letters of their points and directions: of more the older half goes, but for the first step."""


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
        self.steps = {0: Step(0, None, state, what)}
        """By number, the oldest first."""
        self.current = 0
        self._letters = 0
        """At most so many, as each text counts where the step before has not the same one."""

    @property
    def state(self) -> State:
        """Of the current step."""
        return self.steps[self.current].state

    def add(self, state: State, what: str) -> bool:
        """Continue from the current step; False when nothing changed."""
        if state == self.state:
            return False
        number = next(reversed(self.steps)) + 1
        had = _texts(self.state)
        self._letters += sum(length for text, length in _texts(state).items() if text not in had)
        self.steps[number] = Step(number, self.current, state, what)
        self.steps[self.current].children.append(number)
        self.current = number
        self._trim()
        return True

    def _trim(self) -> None:
        if not self._is_full():
            return
        self._count()
        while self._is_full() and len(self.steps) > 2:
            first, *others = self.steps.values()
            kept = others[(len(others) + 1) // 2 :]
            self.steps = {each.number: each for each in (first, *kept)}
            for each in kept:
                if each.parent not in self.steps:
                    each.parent = first.number
            first.children = [each.number for each in kept if each.parent == first.number]
            self._count()

    def _is_full(self) -> bool:
        return len(self.steps) > MOST_STEPS or self._letters > MOST_LETTERS

    def _count(self) -> None:
        texts = dict[int, int]()
        for step in self.steps.values():
            texts |= _texts(step.state)
        self._letters = sum(texts.values())

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
        if number in self.steps:
            self.current = number

    def trail(self) -> list[State]:
        """States from the root to the current step."""
        steps, found, at = self.steps, [], self.current  # asked in threads, too
        while True:
            found.append(steps[at].state)
            parent = steps[at].parent
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


def _texts(state: State) -> dict[int, int]:
    """Which long texts a state holds, and of how many letters; those of one slider are one, wherever it stands."""
    held = (state.base or "", *(move.vector for move in state.moves))
    return {id(text): len(text) for text in held}
