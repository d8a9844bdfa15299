"""How every benchmark compares: interleaved rounds against a reference of the same run, with a control.

On a machine that others use too, times mean nothing and ratios mean little unless both sides alternate: reference,
ours, reference, ours, reference. Ours is compared with the mean of the references before and after it; their own
ratio is the control (1.0 when the machine was quiet).
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from django.conf import settings
from django.http import HttpRequest
from django.test import Client, override_settings

from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.sign_in import start_session

type Measure = Callable[[], float]

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Costs of all rounds, in whatever unit both measures return (seconds for one piece of work)."""

    ours: tuple[float, ...]
    reference: tuple[float, ...]
    control: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Reference to ours, round by round: above 1 ours is the cheaper."""
        return tuple(theirs / ours for ours, theirs in zip(self.ours, self.reference, strict=True))

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    def __str__(self) -> str:
        return (
            f"{self.ratio:.3f} (rounds {_spread(self.ratios)}; control {_spread(self.control)}; "
            f"ours {1e6 * median(self.ours):,.0f} us, reference {1e6 * median(self.reference):,.0f} us)"
        )


def pairs(ours: Measure, reference: Measure, *, rounds: int = ROUNDS) -> Comparison:
    """Measure both, interleaved. Each call of a measure returns the cost of one piece of work."""
    costs, references, control = [], [], []
    before = reference()
    for _ in range(rounds):
        costs.append(ours())
        after = reference()
        references.append((before + after) / 2)
        control.append(before / after)
        before = after
    return Comparison(tuple(costs), tuple(references), tuple(control))


def report(name: str, comparison: Comparison) -> float:
    """Print one comparison for people and return its ratio."""
    print(f"{name}: {comparison}", flush=True)
    return comparison.ratio


def print_figures(**figures: float | int | str) -> None:
    """The last line of a benchmark: `key=value`, higher is better."""
    shown = (
        f"{name}={value:.3f}" if isinstance(value, float) else f"{name}={value}"
        for name, value in figures.items()
    )
    print(" ".join(shown), flush=True)


def plain_files() -> override_settings:
    """Static files under their own names: nothing is collected for a benchmark."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    return override_settings(STORAGES=settings.STORAGES | {"staticfiles": plain})


def signed_in(user: User) -> Client:
    """A browser in which the person has signed in."""
    host = settings.PUBLIC_URL.split("://", 1)[1]
    client = Client(headers={"host": host})
    request = HttpRequest()
    request.session = client.session
    with tenant_atomic(user.tenant_id):
        start_session(request, user)
    request.session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(request.session.session_key)
    return client


def _spread(values: tuple[float, ...]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"
