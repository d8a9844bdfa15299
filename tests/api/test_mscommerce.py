"""A script that knows the public description of the MSCommerce calls and nothing else (product §16).

It speaks plain HTTP to a running server, as the stock module does, at every place where modules look.
"""

import pytest
from httpx import Client

from tests.factories import make_tenant, make_user, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PREFIXES = ["/v1.0", "/v1", "/api/v1.0", "/api/v1"]
POLICY = "AllowSelfServicePurchase"
POWER_APPS, FORMER_POWER_APPS = "CFQ7TTC0LH2H", "CFQ7TTC0KP0P"


@pytest.fixture
def connect(live_server):
    """Sign in as somebody: a client with that person's token."""
    tenant = make_tenant(name="Contoso")
    opened = []

    def as_somebody(*roles: str, scopes: tuple[str, ...] = (), prefix: str = "/v1.0") -> Client:
        token = token_of(make_user(tenant, roles=roles), *scopes)
        client = Client(base_url=live_server.url + prefix, headers={"Authorization": f"Bearer {token}"})
        opened.append(client)
        return client

    yield as_somebody
    for client in opened:
        client.close()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_admin_lists_reads_and_writes_policies(connect, prefix: str) -> None:
    module = connect("billing_admin", prefix=prefix)

    policies = module.get("/policies").json()
    one = module.get(f"/policies/{POLICY}").json()
    products = module.get(f"/policies/{POLICY}/products").json()
    by_scope = module.get(f"/policies/{POLICY}/products", params={"scope": "pRoDuCt"}).json()
    before = module.get(f"/policies/{POLICY}/products/{POWER_APPS}").json()
    written = module.put(f"/policies/{POLICY}/products/{POWER_APPS}", json={"policyValue": "Disabled"})
    after = module.get(f"/policies/{POLICY}/products/{POWER_APPS}").json()

    assert policies == {"items": [one]}
    assert set(one) == {"id", "description", "defaultValue"}
    assert (one["id"], one["defaultValue"]) == (POLICY, "Enabled")
    assert before == {
        "policyId": POLICY,
        "scope": "product",
        "productId": POWER_APPS,
        "productName": "Power Apps per user",
        "policyValue": "Enabled",
    }
    assert before in products["items"]
    assert products == by_scope
    assert (written.status_code, written.json()) == (200, before | {"policyValue": "Disabled"})
    assert after == written.json()


def test_each_product_is_listed_once_under_its_current_id(connect) -> None:
    items = connect("global_reader").get(f"/policies/{POLICY}/products").json()["items"]

    ids = [item["productId"] for item in items]
    assert len(ids) == len(set(ids)) > 10
    assert POWER_APPS in ids
    assert FORMER_POWER_APPS not in ids
    assert [item["productName"] for item in items] == sorted(item["productName"] for item in items)


def test_an_old_id_is_taken_and_answered_with_the_current_one(connect) -> None:
    module = connect("global_admin")

    written = module.put(f"/policies/{POLICY}/products/{FORMER_POWER_APPS}", json={"policyValue": "Disabled"})
    old, new = (
        module.get(f"/policies/{POLICY}/products/{key}").json() for key in (FORMER_POWER_APPS, POWER_APPS)
    )

    assert written.json()["productId"] == POWER_APPS
    assert old == new == written.json()


@pytest.mark.parametrize("value", ["Enabled", "Disabled", "OnlyTrialsWithoutPaymentMethod"])
def test_every_value_is_taken_for_every_product(connect, value: str) -> None:
    module = connect("global_admin")
    for item in module.get(f"/policies/{POLICY}/products").json()["items"][:5]:
        path = f"/policies/{POLICY}/products/{item['productId']}"

        assert module.put(path, json={"policyValue": value}).json()["policyValue"] == value


@pytest.mark.parametrize("value", ["disabled", "True", "", "OnlyTrials", None, 1, {}])
def test_a_bad_value_is_400_and_changes_nothing(connect, value: object) -> None:
    module, path = connect("global_admin"), f"/policies/{POLICY}/products/{POWER_APPS}"

    answer = module.put(path, json={"policyValue": value})

    assert answer.status_code == 400
    assert module.get(path).json()["policyValue"] == "Enabled"


@pytest.mark.parametrize("scope", ["products", "offer", "", "product,OfferType"])
def test_a_bad_scope_is_400(connect, scope: str) -> None:
    assert (
        connect("global_admin").get(f"/policies/{POLICY}/products", params={"scope": scope}).status_code
        == 400
    )


def test_what_does_not_exist_is_404(connect) -> None:
    module = connect("global_admin")
    for path in (
        "/policies/AllowEverything",
        "/policies/AllowEverything/products",
        f"/policies/AllowEverything/products/{POWER_APPS}",
        f"/policies/{POLICY}/products/CFQ7TTC00000",
        f"/policies/{POLICY}/products/%00",
    ):
        assert module.get(path).status_code == 404, path
    assert module.put("/policies/x/products/y", json={"policyValue": "Disabled"}).status_code == 404


OFFER_TYPES = ["SaaS", "POWERBIVISUALS", "DYNAMICSCE", "DYNAMICSBC"]


def test_offer_types_are_listed_read_and_written(connect) -> None:
    module, path = connect("billing_admin"), f"/policies/{POLICY}/offerTypes/SaaS"

    listed = module.get(f"/policies/{POLICY}/products", params={"scope": "offertype"}).json()["items"]
    before = module.get(path).json()
    written = module.put(path, json={"policyValue": "Disabled"})

    assert [item["scopeId"] for item in listed] == OFFER_TYPES
    assert before == {
        "policyId": POLICY,
        "scope": "OfferType",
        "scopeId": "SaaS",
        "scopeValue": before["scopeValue"],
        "policyValue": "Enabled",
    }
    assert before["scopeValue"]
    assert before in listed
    assert (written.status_code, written.json()) == (200, before | {"policyValue": "Disabled"})
    assert module.get(path).json() == written.json()


def test_an_offer_type_knows_no_trials_and_no_others(connect) -> None:
    module, path = connect("global_admin"), f"/policies/{POLICY}/offerTypes"

    trials = module.put(f"{path}/SaaS", json={"policyValue": "OnlyTrialsWithoutPaymentMethod"})

    assert trials.status_code == 400
    assert module.get(f"{path}/SaaS").json()["policyValue"] == "Enabled"
    assert module.get(f"{path}/Books").status_code == 404
    assert module.put(f"{path}/Books", json={"policyValue": "Disabled"}).status_code == 404


def test_without_a_token_or_with_a_wrong_one_it_is_401(connect) -> None:
    module = connect("global_admin")
    for header in ("", "Bearer", "Bearer nonsense"):
        answer = module.get("/policies", headers={"Authorization": header})

        assert answer.status_code == 401, header
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_reader_reads_and_gets_403_for_writing(connect) -> None:
    module, path = connect("global_reader"), f"/policies/{POLICY}/products/{POWER_APPS}"

    assert module.get(path).status_code == 200
    assert module.put(path, json={"policyValue": "Disabled"}).status_code == 403
    assert module.get(path).json()["policyValue"] == "Enabled"


@pytest.mark.parametrize("roles", [(), ("license_admin",), ("user_admin",)])
def test_a_role_too_low_is_403(connect, roles: tuple[str, ...]) -> None:
    assert connect(*roles).get("/policies").status_code == 403


def test_a_scope_too_low_is_403(connect) -> None:
    path = f"/policies/{POLICY}/products/{POWER_APPS}"
    reads, other = (
        connect("global_admin", scopes=("policies.read",)),
        connect("global_admin", scopes=("bills.read",)),
    )

    assert reads.get(path).status_code == 200
    assert reads.put(path, json={"policyValue": "Disabled"}).status_code == 403
    assert other.get(path).status_code == 403


def test_the_correlation_id_is_echoed(connect) -> None:
    answer = connect("global_admin").get("/policies", headers={"x-ms-correlation-id": "a1b2-c3"})

    assert answer.headers["x-ms-correlation-id"] == "a1b2-c3"
