"""Browsers of the admin center, signed in without the identity provider."""

from collections.abc import Callable

import pytest
from django.http import HttpRequest
from django.test import Client

from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.sign_in import ACTING, start_session

type SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    """`sign_in(user, acting_for=tenant)` gives a client whose session is that person's."""

    def sign_in_as(user: User, *, acting_for: Tenant | None = None) -> Client:
        client = Client()
        request = HttpRequest()
        request.session = client.session
        with tenant_atomic(user.tenant_id):
            start_session(request, user)
        if acting_for:
            request.session[ACTING] = acting_for.pk
        request.session.save()
        client.cookies["session"] = request.session.session_key
        return client

    return sign_in_as
