"""The API itself: routes, keys, idempotency and the answer to one request."""

import hmac
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import charges, customers, events, forms, payment_intents, payment_methods, setup_intents
from .clock import Clock
from .errors import ApiError, Json, malformed, missing_object
from .faults import Fault, Faults
from .forms import Spec
from .idempotency import KEPT_SECONDS, Keys
from .session import API_VERSION, Session, public
from .store import Store
from .webhooks import Webhooks

type Operation = Callable[..., Json]

_RECORDED = 20_000
_SEEN_BY_BROWSERS = frozenset(
    [
        "allowed_payment_method_types",
        "amount",
        "amount_details",
        "automatic_payment_methods",
        "canceled_at",
        "cancellation_reason",
        "capture_method",
        "client_secret",
        "confirmation_method",
        "created",
        "currency",
        "description",
        "id",
        "last_payment_error",
        "last_setup_error",
        "livemode",
        "next_action",
        "object",
        "payment_method",
        "payment_method_types",
        "processing",
        "receipt_email",
        "setup_future_usage",
        "shipping",
        "status",
        "usage",
    ]
)


@dataclass(frozen=True)
class Route:
    """One operation: where it lives, which parameters it takes, and who may call it."""

    method: str
    path: str
    operation: Operation
    spec: Spec = field(default_factory=dict)
    required: tuple[str, ...] = ()
    for_browsers: bool = False


_RETRIEVE_WITH_SECRET: Spec = {"client_secret": forms.string}
ROUTES = (
    Route("POST", "/v1/customers", customers.create, customers.CREATE),
    Route("GET", "/v1/customers", customers.list_, customers.LIST),
    Route("GET", "/v1/customers/{}", customers.retrieve),
    Route("POST", "/v1/customers/{}", customers.update, customers.UPDATE),
    Route("DELETE", "/v1/customers/{}", customers.delete),
    Route(
        "GET",
        "/v1/customers/{}/payment_methods",
        customers.payment_methods,
        payment_methods.LIST_OF_CUSTOMER,
    ),
    Route("GET", "/v1/customers/{}/payment_methods/{}", customers.payment_method),
    Route("POST", "/v1/payment_methods", payment_methods.create, payment_methods.CREATE),
    Route("GET", "/v1/payment_methods", payment_methods.list_, payment_methods.LIST),
    Route("GET", "/v1/payment_methods/{}", payment_methods.retrieve),
    Route("POST", "/v1/payment_methods/{}", payment_methods.update, payment_methods.UPDATE),
    Route("POST", "/v1/payment_methods/{}/attach", payment_methods.attach, payment_methods.ATTACH),
    Route("POST", "/v1/payment_methods/{}/detach", payment_methods.detach),
    Route(
        "POST",
        "/v1/confirmation_tokens",
        payment_methods.create_token,
        payment_methods.CREATE_TOKEN,
        for_browsers=True,
    ),
    Route(
        "POST",
        "/v1/test_helpers/confirmation_tokens",
        payment_methods.create_token,
        payment_methods.CREATE_TOKEN,
    ),
    Route("GET", "/v1/confirmation_tokens/{}", payment_methods.retrieve_token),
    Route("POST", "/v1/setup_intents", setup_intents.create, setup_intents.CREATE),
    Route("GET", "/v1/setup_intents", setup_intents.list_, setup_intents.LIST),
    Route("GET", "/v1/setup_intents/{}", setup_intents.retrieve, _RETRIEVE_WITH_SECRET, for_browsers=True),
    Route("POST", "/v1/setup_intents/{}", setup_intents.update, setup_intents.UPDATE),
    Route(
        "POST",
        "/v1/setup_intents/{}/confirm",
        setup_intents.confirm,
        setup_intents.CONFIRM,
        for_browsers=True,
    ),
    Route("POST", "/v1/setup_intents/{}/cancel", setup_intents.cancel, setup_intents.CANCEL),
    Route(
        "POST",
        "/v1/payment_intents",
        payment_intents.create,
        payment_intents.CREATE,
        required=("amount", "currency"),
    ),
    Route("GET", "/v1/payment_intents", payment_intents.list_, payment_intents.LIST),
    Route(
        "GET",
        "/v1/payment_intents/search",
        payment_intents.search,
        payment_intents.SEARCH,
        required=("query",),
    ),
    Route(
        "GET",
        "/v1/payment_intents/{}",
        payment_intents.retrieve,
        _RETRIEVE_WITH_SECRET,
        for_browsers=True,
    ),
    Route("POST", "/v1/payment_intents/{}", payment_intents.update, payment_intents.UPDATE),
    Route(
        "POST",
        "/v1/payment_intents/{}/confirm",
        payment_intents.confirm,
        payment_intents.CONFIRM,
        for_browsers=True,
    ),
    Route("POST", "/v1/payment_intents/{}/cancel", payment_intents.cancel, payment_intents.CANCEL),
    Route("GET", "/v1/charges", charges.list_, charges.LIST),
    Route("GET", "/v1/charges/{}", charges.retrieve),
    Route("POST", "/v1/charges/{}", charges.update, charges.UPDATE),
    Route("POST", "/v1/refunds", charges.create_refund, charges.REFUND),
    Route("GET", "/v1/refunds", charges.list_refunds, charges.LIST_REFUNDS),
    Route("GET", "/v1/refunds/{}", charges.retrieve_refund),
    Route("POST", "/v1/refunds/{}", charges.update_refund, charges.UPDATE_REFUND),
    Route("GET", "/v1/disputes", charges.list_disputes, charges.LIST_DISPUTES),
    Route("GET", "/v1/disputes/{}", charges.retrieve_dispute),
    Route("POST", "/v1/disputes/{}", charges.update_dispute, charges.UPDATE_DISPUTE),
    Route("POST", "/v1/disputes/{}/close", charges.accept_dispute),
    Route("GET", "/v1/events", events.list_, events.LIST),
    Route("GET", "/v1/events/{}", events.retrieve),
)


@dataclass(frozen=True)
class Question:
    """One HTTP request to the API, as it came in."""

    method: str
    path: str
    query: str
    body: str
    key: str
    idempotency_key: str | None
    base_url: str


@dataclass(frozen=True)
class Reply:
    """What goes back; `is_lost` means that the connection is closed instead."""

    status: int
    body: str
    headers: dict[str, str]
    is_lost: bool = False


class Api:
    """All of the processor's state, and the way a request goes through it."""

    def __init__(
        self, store: Store, clock: Clock, webhooks: Webhooks, *, secret_key: str, publishable_key: str
    ) -> None:
        self.store = store
        self.clock = clock
        self.webhooks = webhooks
        self.faults = Faults()
        self.recorded: deque[Json] = deque(maxlen=_RECORDED)
        self._recorded_total = 0
        self._keys = Keys(store)
        self._secret_key = secret_key
        self.publishable_key = publishable_key
        self._held = 0
        self._lock = threading.Lock()
        self._fixed = {(route.method, route.path): route for route in ROUTES}

    def session(self, *, base_url: str = "", **facts: Any) -> Session:
        """A session outside a request: for control and the issuer's page."""
        return Session(
            store=self.store,
            now=self.clock.now(),
            request_id=f"req_{secrets.token_hex(7)}",
            base_url=base_url,
            publishable_key=self.publishable_key,
            **facts,
        )

    def work(self, session: Session, operation: Callable[[], Any]) -> Any:
        """Run something of a session as one transaction, its events queued with it."""
        with self.store.transaction():
            result = operation()
            self.webhooks.enqueue(session.events)
        self.webhooks.wake()
        return result

    def intent_with_secret(self, id_: str, secret: str) -> Json | None:
        """The intent, for whoever holds its client secret."""
        intent = self.store.get(id_)
        if intent is None or "client_secret" not in intent:
            return None
        return intent if hmac.compare_digest(intent["client_secret"].encode(), secret.encode()) else None

    def authenticate(self, id_: str, *, succeeds: bool) -> Json:
        """The cardholder's answer to the issuer; the intent as it is afterwards.

        :raises ApiError: 400 when the intent does not wait for one.
        """
        session = self.session(take_hold=self._take_hold)

        def finish() -> Json:
            intent = self.store.get(id_) or {}
            module = setup_intents if intent.get("object") == "setup_intent" else payment_intents
            module.finish_authentication(session, intent, is_authenticated=succeeds)
            return intent

        return dict(self.work(session, finish))

    def hold_settlements(self, count: int) -> None:
        """Let the next `count` charges stay in `processing`."""
        with self._lock:
            self._held = count

    def answer(self, question: Question) -> Reply:
        """Authenticate, route, check, work, answer."""
        request_id = f"req_{secrets.token_hex(7)}"
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        key = question.idempotency_key if question.method == "POST" else None
        if key:
            headers["Idempotency-Key"] = key
        try:
            return self._answer(question, key, request_id, headers)
        except ApiError as error:
            status, body = _rendered(error, is_publishable=True)
            return Reply(status, body, headers | _retry_advice(error))

    def _answer(self, question: Question, key: str | None, request_id: str, headers: dict[str, str]) -> Reply:
        raw = question.body if question.method == "POST" else question.query
        params = forms.parse(raw)
        params.pop("key", None)
        is_publishable = self._authenticate(question.key)
        entry = self._record(question, params)
        route, ids = self._route(question)
        if is_publishable and not route.for_browsers:
            raise _unauthorized(
                "This API call cannot be made with a publishable API key. Please use a secret API key. You can "
                "find a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
                code="secret_key_required",
            )
        seconds, fault = self.faults.take(question.method, question.path, params)
        if fault and fault.kind == "lose_request":
            return Reply(0, "", {}, is_lost=True)
        if fault and fault.kind == "error" and fault.status < 500:
            raise fault.error()
        now = self.clock.now()
        request_hash = self._keys.request_hash(question.method, question.path, raw)
        kept = None
        if key:
            kept = self._keys.begin(key, request_hash=request_hash, path=question.path, now=now)
        if kept is not None:
            headers |= {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
            _pause(seconds)
            entry["status"] = kept.status
            return Reply(kept.status, kept.body, headers, is_lost=fault is not None)
        try:
            _pause(seconds)
            session = Session(
                store=self.store,
                now=now,
                request_id=request_id,
                base_url=question.base_url,
                idempotency_key=key,
                is_publishable=is_publishable,
                publishable_key=self.publishable_key,
                take_hold=self._take_hold,
            )
            status, body = self._perform(
                session, route, ids, params, fault=fault, path=question.path, request_hash=request_hash
            )
        finally:
            if key:
                self._keys.finish(key)
        entry["status"] = status
        if key:
            headers["Original-Request"] = request_id
        return Reply(status, body, headers, is_lost=bool(fault and fault.kind == "lose_answer"))

    def _perform(
        self,
        session: Session,
        route: Route,
        ids: list[str],
        params: Json,
        *,
        fault: Fault | None,
        path: str,
        request_hash: bytes,
    ) -> tuple[int, str]:
        """Do the work and remember the answer, in one transaction."""

        def remember(status: int, body: str) -> None:
            if session.idempotency_key:
                self.store.keep_answer(
                    session.idempotency_key,
                    request_hash=request_hash,
                    path=path,
                    request_id=session.request_id,
                    status=status,
                    body=body,
                    created=session.now,
                    prune_before=session.now - KEPT_SECONDS,
                )

        broken = fault.error() if fault and fault.kind == "error" else None
        try:
            if broken and not broken.keeps_work:
                raise broken
            with self.store.transaction():
                answer = self._operate(session, route, ids, params)
                if broken:
                    answer = broken
                status, body = _rendered(answer, session.is_publishable)
                self.webhooks.enqueue(session.events)
                remember(status, body)
        except ApiError as refused:
            status, body = _rendered(refused, session.is_publishable)
            if refused.saved:
                with self.store.transaction():
                    remember(status, body)
        self.webhooks.wake()
        return status, body

    def _operate(self, session: Session, route: Route, ids: list[str], params: Json) -> Json | ApiError:
        """The operation's object, or the refusal that is an outcome of its own."""
        expand = params.pop("expand", [])
        if not isinstance(expand, list) or not all(isinstance(path, str) for path in expand):
            raise malformed("Invalid array", param="expand")
        checked = forms.check(params, route.spec, required=route.required)
        if "client_secret" in route.spec:
            self._check_client_secret(session, ids[0], checked.pop("client_secret", None))
        try:
            body = route.operation(session, checked, *ids)
        except ApiError as refused:
            if refused.keeps_work:
                return refused
            raise
        return session.expand(body, expand)

    def _check_client_secret(self, session: Session, id_: str, secret: str | None) -> None:
        if secret is None and not session.is_publishable:
            return
        if secret is None:
            raise malformed(
                "Missing required param: client_secret.", code="parameter_missing", param="client_secret"
            )
        intent = self.store.get(id_)
        if intent is None or not hmac.compare_digest(intent.get("client_secret", ""), secret):
            kind = "setupintent" if id_.startswith("seti_") else "payment_intent"
            raise missing_object(kind, id_, param="intent")

    def _take_hold(self) -> bool:
        with self._lock:
            if self._held <= 0:
                return False
            self._held -= 1
            return True

    def _record(self, question: Question, params: Json) -> Json:
        """Keep the request, without card data; its status follows once it is known."""
        entry = {
            "method": question.method,
            "path": question.path,
            "params": forms.without_card_data(params),
            "idempotency_key": question.idempotency_key,
            "from_browser": question.key == self.publishable_key,
            "status": None,
        }
        with self._lock:
            self._recorded_total += 1
            self.recorded.append({"number": self._recorded_total} | entry)
            return self.recorded[-1]

    def _route(self, question: Question) -> tuple[Route, list[str]]:
        route = self._fixed.get((question.method, question.path))
        if route:
            return route, []
        parts = question.path.split("/")
        for pattern in _SHAPES.get((question.method, len(parts)), ()):
            route, shape = pattern
            if all(expected in ("{}", given) for expected, given in zip(shape, parts, strict=True)):
                ids = [given for expected, given in zip(shape, parts, strict=True) if expected == "{}"]
                if all(ids):
                    return route, ids
        raise ApiError(
            404,
            "invalid_request_error",
            f"Unrecognized request URL ({question.method}: {question.path}). Please see "
            "https://stripe.com/docs or we can help at https://support.stripe.com/.",
            saved=False,
        )

    def _authenticate(self, key: str) -> bool:
        """Whether the key is the publishable one.

        :raises ApiError: 401 for no key or a wrong one.
        """
        if not key:
            raise _unauthorized(
                "You did not provide an API key. You need to provide your API key in the Authorization header, "
                "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
        if hmac.compare_digest(key.encode(), self.publishable_key.encode()):
            return True
        if not hmac.compare_digest(key.encode(), self._secret_key.encode()):
            hidden = f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}" if len(key) > 12 else "****"
            raise _unauthorized(f"Invalid API Key provided: {hidden}")
        return False


_SHAPES: dict[tuple[str, int], list[tuple[Route, list[str]]]] = {}
for _route_ in ROUTES:
    _shape = _route_.path.split("/")
    if "{}" in _shape:
        _SHAPES.setdefault((_route_.method, len(_shape)), []).append((_route_, _shape))


def _pause(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


def _unauthorized(message: str, *, code: str | None = None) -> ApiError:
    return ApiError(401, "invalid_request_error", message, code=code, saved=False)


def _retry_advice(error: ApiError) -> dict[str, str]:
    """The header by which Stripe tells its libraries whether to try again."""
    if error.error.get("code") in ("idempotency_key_in_use", "lock_timeout"):
        return {"Stripe-Should-Retry": "true"}
    return {"Stripe-Should-Retry": "false"}


def _rendered(answer: Json | ApiError, is_publishable: bool) -> tuple[int, str]:
    """Status and body text; a browser sees of an intent only what its holder may know."""
    if isinstance(answer, ApiError):
        body = public(answer.error)
        if is_publishable:
            body = {name: _for_browser(value) for name, value in body.items()}
        return answer.status, json.dumps({"error": body})
    body = public(answer)
    return 200, json.dumps(_for_browser(body) if is_publishable else body)


def _for_browser(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("object") not in ("payment_intent", "setup_intent"):
        return value
    return {name: item for name, item in value.items() if name in _SEEN_BY_BROWSERS}
