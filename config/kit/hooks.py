"""What higher apps do after something happened in a lower one: registered callbacks, not signals (architecture §2)."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Hook[T]:
    """A list of callbacks, called in the order in which they registered."""

    callbacks: list[Callable[[T], object]] = field(default_factory=list)

    def register(self, callback: Callable[[T], object]) -> Callable[[T], object]:
        self.callbacks.append(callback)
        return callback

    def __call__(self, event: T) -> None:
        for callback in self.callbacks:
            callback(event)
