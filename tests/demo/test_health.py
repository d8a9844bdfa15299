"""Liveness and readiness (config/health.py)."""

import pytest
from django.db import DatabaseError

from config import health


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    for name in ("migrations", "walls"):
        check = health.CHECKS[name]
        monkeypatch.setitem(health.CHECKS, name, health.Remembered(check._check))


def test_is_alive_without_any_server(client):
    response = client.get("/healthz")

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


@pytest.mark.django_db
def test_is_ready_when_every_part_answers(client):
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": "ok",
        "broker": "ok",
        "migrations": "ok",
        "walls": "ok",
        "billing": "ok",
    }


@pytest.mark.django_db
def test_names_the_part_that_does_not_answer(client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "database": "ok",
        "broker": "unavailable",
        "migrations": "ok",
        "walls": "ok",
        "billing": "unknown",
    }


def test_tells_nobody_why(client, monkeypatch):
    def broken():
        raise DatabaseError("password of seatkeeper_app is wrong")

    monkeypatch.setattr(health, "CHECKS", {"database": broken})

    response = client.get("/readyz")

    assert response.status_code == 503
    assert "password" not in response.text


def test_a_success_is_remembered_and_a_failure_is_repeated_later(monkeypatch):
    now, answers = [100.0], [health.NotReady("one missing"), None]
    asked = []

    def check():
        asked.append(now[0])
        answer = answers.pop(0)
        if answer:
            raise answer

    monkeypatch.setattr(health.time, "monotonic", lambda: now[0])
    remembered = health.Remembered(check)

    with pytest.raises(health.NotReady):
        remembered()
    now[0] = 105.0
    with pytest.raises(health.NotReady):
        remembered()
    now[0] = 110.0
    remembered()
    now[0] = 500.0
    remembered()

    assert asked == [100.0, 110.0]
