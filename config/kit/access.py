"""Every address declares who may use it; what declares nothing does not exist (architecture §3).

The declaration sits on the view. `directory.middleware.AccessMiddleware` reads and enforces it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

type View = Callable[..., Any]
type Audience = Literal["public", "signed_in", "capability", "token"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one address asks of whoever calls it.

    `sees`: the capability without which the address answers 404. `may`: the capability without which a
    person who sees it gets 403. `owns_transaction`: the view calls a peer over the network and opens short
    `tenant_atomic` blocks itself, since no network call happens inside a transaction; a call of the API does its last
    part after `api.begin_transaction`. `scope`: what a token must
    be for, where a token is asked; `checks_itself`: the view judges the token together with its answer.
    `needs_key`: a POST charges a card, so it is refused without an Idempotency-Key.
    """

    audience: Audience
    sees: str = ""
    may: str = ""
    owns_transaction: bool = False
    scope: str = ""
    checks_itself: bool = False
    needs_key: bool = False


def declare(view: View, rule: Rule) -> View:
    view.access_rule = rule  # type: ignore[attr-defined]
    return view


def public(view: View | None = None, *, owns_transaction: bool = False) -> Any:
    """Anybody, signed in or not."""
    rule = Rule("public", owns_transaction=owns_transaction)
    return declare(view, rule) if view else lambda v: declare(v, rule)


def signed_in(view: View | None = None, *, owns_transaction: bool = False) -> Any:
    """Anybody with an active account; others are sent to sign in."""
    rule = Rule("signed_in", owns_transaction=owns_transaction)
    return declare(view, rule) if view else lambda v: declare(v, rule)


def requires(*, sees: str, may: str = "", owns_transaction: bool = False) -> Callable[[View], View]:
    """Holders of a capability of product §2, in whatever scope; the rows are narrowed by `visible_to`."""
    rule = Rule("capability", sees=sees, may=may, owns_transaction=owns_transaction)
    return lambda view: declare(view, rule)


def token(
    scope: str,
    *,
    sees: str = "",
    may: str = "",
    owns_transaction: bool = False,
    checks_itself: bool = False,
    needs_key: bool = False,
) -> Callable[[View], View]:
    """Bearers of a token for `scope`, whose person or service also holds the capabilities."""
    rule = Rule("token", sees, may, owns_transaction, scope, checks_itself, needs_key)
    return lambda view: declare(view, rule)


def by_method(view: View, rules: Mapping[str, Rule]) -> View:
    """One address with a rule for each of its methods; without one, the method is not allowed."""
    view.access_rules = dict(rules)  # type: ignore[attr-defined]
    return view


def rules_of(view: Any) -> Mapping[str, Rule]:
    """Every rule of a resolved view by method, one for all methods under the empty name; empty when undeclared."""
    methods: Mapping[str, Rule] = getattr(view, "access_rules", {})
    if methods:
        return methods
    rule = rule_of(view)
    return {"": rule} if rule else {}


def rule_of(view: Any) -> Rule | None:
    """The declaration on a resolved view, looking through class-based and decorated views; None when absent."""
    seen = 0
    while view is not None and seen < 10:
        for candidate in (view, getattr(view, "view_class", None)):
            rule = getattr(candidate, "access_rule", None)
            if isinstance(rule, Rule):
                return rule
        view = getattr(view, "__wrapped__", None)
        seen += 1
    return None
