"""The public `msgraph-sdk` client, unchanged, against a running server (product §16)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from kiota_abstractions.authentication import (
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.assigned_license import AssignedLicense
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.users.item.assign_license.assign_license_post_request_body import (
    AssignLicensePostRequestBody,
)
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_core import PageIterator

from licensing.graph.shapes import plan_id_of
from tests.factories import make_subscription, make_tenant, make_user, product, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


class Token(AccessTokenProvider):
    """A token of ours, sent to the host of the test alone."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.hosts = AllowedHostsValidator(["127.0.0.1", "localhost"])

    async def get_authorization_token(
        self, uri: str, additional_authentication_context: dict[str, Any] | None = None
    ) -> str:
        return self.secret

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return self.hosts


def client_at(address: str, secret: str) -> GraphServiceClient:
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(Token(secret)))
    adapter.base_url = address
    return GraphServiceClient(request_adapter=adapter)


def body_of(*add: UUID, remove: tuple[UUID, ...] = (), disabled: tuple[UUID, ...] = ()) -> Any:
    return AssignLicensePostRequestBody(
        add_licenses=[AssignedLicense(sku_id=sku, disabled_plans=list(disabled)) for sku in add],
        remove_licenses=list(remove),
    )


@pytest.mark.parametrize("prefix", ["/api/v1.0", "/v1.0"])
def test_it_lists_assigns_and_takes_back(live_server: Any, prefix: str) -> None:
    contoso = make_tenant(name="Contoso")
    gina = make_user(contoso, name="Gina", roles=("global_admin",))
    mike = make_user(contoso, name="Mike", email="mike@contoso.example")
    make_user(contoso, name="Zoe")
    subscription = make_subscription(contoso, quantity=1)
    bi = product()

    async def use(client: GraphServiceClient) -> None:
        (sku,) = (await client.subscribed_skus.get()).value
        assert (sku.sku_id, sku.capability_status, sku.consumed_units) == (bi.sku_id, "Enabled", 0)
        assert (sku.prepaid_units.enabled, sku.prepaid_units.locked_out) == (1, 0)
        assert sku.service_plans[0].service_plan_id == plan_id_of(bi.sku_id)
        assert sku.subscription_ids == [str(subscription.key)]

        (bought,) = (await client.directory.subscriptions.get()).value
        one = await client.directory.subscriptions.by_company_subscription_id(bought.id).get()
        assert (one.status, one.total_licenses, one.is_trial) == ("Enabled", 1, False)
        assert one.next_lifecycle_date_time == subscription.term_end

        names: list[str | None] = []
        question = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(top=2, orderby=["displayName"])
        first = await client.users.get(request_configuration=RequestConfiguration(query_parameters=question))
        assert len(first.value) == 2
        await PageIterator(first, client.request_adapter).iterate(
            lambda user: names.append(user.display_name) is None
        )
        assert names == ["Gina", "Mike", "Zoe"]

        person = client.users.by_user_id("mike@contoso.example")
        assert (await person.get()).id == str(mike.key)
        assert (await person.assign_license.post(body_of(bi.sku_id))).display_name == "Mike"
        assert (await person.assign_license.post(body_of(bi.sku_id))).display_name == "Mike"
        (held,) = (await person.license_details.get()).value
        assert (held.sku_id, held.service_plans[0].provisioning_status) == (bi.sku_id, "Success")

        with pytest.raises(ODataError) as refused:
            await client.users.by_user_id(str(gina.key)).assign_license.post(body_of(bi.sku_id))
        assert refused.value.response_status_code == 400
        assert refused.value.error.code == "Request_BadRequest"
        assert "No license is left" in refused.value.error.message

        await person.assign_license.post(body_of(remove=(bi.sku_id,)))
        assert (await person.license_details.get()).value == []
        with pytest.raises(ODataError) as missing:
            await client.users.by_user_id("nobody@contoso.example").get()
        assert missing.value.error.code == "Request_ResourceNotFound"

    # A thread of its own: in this one the loop of a browser may run.
    with ThreadPoolExecutor(max_workers=1) as threads:
        threads.submit(asyncio.run, use(client_at(f"{live_server.url}{prefix}", token_of(gina)))).result()
