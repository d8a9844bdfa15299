"""Reliability §7, line by line: what an installation that faces people is, and that it does not start otherwise.

Settings are read once, when a process begins, so those of production are looked at in processes of their own.
"""

import json
import subprocess
import sys
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.checks import CheckMessage
from django.test import Client

from config import deployment
from config.celery import app as celery
from config.demo.checks import CHECKOUT, PRODUCTION
from config.demo.environment import key_settings, new_encryption_key, new_secret_key
from config.kit.secrets import is_of_demo
from config.kit.tenancy import connection, use_login
from tests.factories import client_of, make_tenant, make_user
from tests.faults.installation import environment

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

# What reliability §7 demands of every page but the admin center's and the vendor's.
POLICY = {
    "default-src": "'none'",
    "script-src": "'nonce-' 'strict-dynamic' https://js.stripe.com",
    "frame-src": "https://js.stripe.com https://hooks.stripe.com",
    "connect-src": "'self' https://api.stripe.com",
    "style-src": "'self' 'nonce-'",
    "form-action": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "manifest-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
}
# Prints what a process with the settings of production has, and what it answers.
ASKED = """
import json, sys, django
django.setup()
from django.conf import settings
from django.test import Client
from django.test.utils import setup_test_environment
# Nothing was collected for a test.
plain_files = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
settings.STORAGES = settings.STORAGES | {"staticfiles": plain_files}
names = [name for name in dir(settings) if name.isupper()]
plain = {name: getattr(settings, name) for name in names}
plain = {name: value for name, value in plain.items() if isinstance(value, (str, int, bool, list, type(None)))}
answers = {}
client = Client()
for path in sys.argv[1:]:
    answer = client.get(path, secure=True, HTTP_HOST="seatkeeper.example", headers={"Host": "seatkeeper.example"})
    cookies = {name: dict(each.items()) for name, each in answer.cookies.items()}
    answers[path] = {"status": answer.status_code, "headers": dict(answer.items()), "cookies": cookies}
plainly = client.get("/sign-in/", HTTP_HOST="seatkeeper.example")
answers["http"] = {"status": plainly.status_code, "headers": dict(plainly.items()), "cookies": {}}
print(json.dumps({"settings": plain, "answers": answers}, default=str))
"""
PATHS = (
    "/sign-in/",
    "/products/",
    "/healthz",
    "/no/such/page/",
    "/admin/",
    "/api/v1.0/purchases",
    "/scim/v2/Users",
)


def process(*command: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """A process as production runs it, with some variables of its own."""
    known = environment(PRODUCTION | changed)
    return subprocess.run(
        [sys.executable, *command],
        env={name: value for name, value in known.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,  # under load
        check=False,
    )


@cache
def production() -> dict[str, Any]:
    """Settings and answers of one such process."""
    done = process("-c", ASKED, *PATHS)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def headers(path: str) -> dict[str, str]:
    found: dict[str, str] = production()["answers"][path]["headers"]
    return found


# --- Line 1: check --deploy, and the start ---------------------------------------------------------------------


def test_check_deploy_is_clean_with_the_settings_of_production() -> None:
    done = process("manage.py", "check", "--deploy", "--database", "default", "--fail-level", "WARNING")

    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    "changed",
    [{"PUBLIC_URL": "http://seatkeeper.example"}, {"SECRET_KEY": new_secret_key()}],
    ids=lambda changed: next(iter(changed)),
)
def test_the_web_server_does_not_start_where_something_is_wrong(changed: dict[str, str]) -> None:
    done = process("-c", "import config.wsgi", **changed)

    assert done.returncode == deployment.CANNOT_START, done.stderr
    assert "Cannot start" in done.stderr


def test_the_worker_refuses_as_the_web_server_does() -> None:
    command = ("-m", "celery", "-A", "config.celery", "worker", "--pool", "solo", "--without-mingle")

    done = process(*command, PUBLIC_URL="http://seatkeeper.example")

    assert done.returncode == deployment.CANNOT_START, done.stderr


def test_a_sound_one_starts_and_so_does_one_of_this_machine_alone() -> None:
    sound, local = (
        process("-c", "import config.wsgi"),
        process("-c", "import config.wsgi", PUBLIC_URL="http://127.0.0.1:8000", EMAIL_URL="dummymail://"),
    )

    assert (sound.returncode, local.returncode) == (0, 0), sound.stderr + local.stderr


# --- Our own checks, one by one --------------------------------------------------------------------------------

SOUND: dict[str, Any] = {
    "DEMO": False,
    "PUBLIC_URL": "https://seatkeeper.example",
    "ALLOWED_HOSTS": ["seatkeeper.example"],
    "PRIVATE_PEERS": False,
    "SECURITY_CONTACTS": [],
    "TRUSTED_PROXIES": 0,
    "SECURE_PROXY_SSL_HEADER": None,
    "SECRET_KEY": "a-key-of-this-installation-that-is-long-enough-for-anybody",
    "FIELD_ENCRYPTION_KEYS": ["3Z3Uo8rpTqQ9Vq9mQ4Uu7sQ8Wb8y6n6n0oV2h2m9x1k="],
    "STRIPE_API_BASE": deployment.PROCESSOR,
    "STRIPE_JS_URL": "https://js.stripe.com/v3/",
    "STRIPE_SECRET_KEY": "rk_test_example",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_example",
    "STRIPE_WEBHOOK_SECRETS": ["whsec_example"],
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    "EMAIL_HOST": "mail.example",
    "EMAIL_USE_TLS": True,
    "SUPPORT_MAILBOX": "",
    "EMAIL_USE_SSL": False,
    "REDIS_URL": "rediss://:secret@broker.example:6379/0",
    "CACHES": {"default": {"LOCATION": "rediss://:secret@cache.example:6379/0"}},
    "DATABASES": {
        name: {"USER": name, "HOST": "db.example", "OPTIONS": {"sslmode": "verify-full"}}
        for name in ("default", "owner", "worker")
    },
}
DATABASES = SOUND["DATABASES"]
LIVE = "_live_example"


def found(changed: dict[str, Any]) -> list[str]:
    """The ids of what all our checks say of such settings."""
    said: list[CheckMessage] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "settings", type("Settings", (), SOUND | changed))
        for check in (
            *(deployment.addresses, deployment.secrets, deployment.card_processor, deployment.mail),
            deployment.connections,
        ):
            said += check()
    return [str(message.id).removeprefix("deployment.") for message in said]


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({}, []),
        ({"DEMO": True}, ["E001"]),
        ({"PUBLIC_URL": "http://seatkeeper.example"}, ["E002"]),
        ({"ALLOWED_HOSTS": ["*"]}, ["E003"]),
        ({"ALLOWED_HOSTS": [".seatkeeper.example"]}, ["E003"]),
        ({"ALLOWED_HOSTS": ["a.example", "*.b.example"]}, ["E003"]),
        ({"PRIVATE_PEERS": True}, ["E004"]),
        ({"SECURITY_CONTACTS": ["mailto:security@vendor.example", "https://vendor.example/report"]}, []),
        ({"SECURITY_CONTACTS": ["security@vendor.example"]}, ["E014"]),
        ({"SECURE_PROXY_SSL_HEADER": ("X", "https")}, ["E005"]),
        ({"SECURE_PROXY_SSL_HEADER": ("X", "https"), "TRUSTED_PROXIES": 2}, []),
        ({"TRUSTED_PROXIES": 1}, ["E005"]),
        ({"TRUSTED_PROXIES": -1}, ["E005"]),
        ({"SECRET_KEY": new_secret_key()}, ["E006"]),
        ({"FIELD_ENCRYPTION_KEYS": [new_encryption_key()]}, ["E006"]),
        ({"FIELD_ENCRYPTION_KEYS": []}, ["E007"]),
        ({"FIELD_ENCRYPTION_KEYS": ["not a key"]}, ["E007"]),
        ({"FIELD_ENCRYPTION_KEYS": SOUND["FIELD_ENCRYPTION_KEYS"] * 2}, ["E008"]),
        ({"SECRET_KEY": SOUND["FIELD_ENCRYPTION_KEYS"][0]}, ["E008"]),
        ({"STRIPE_API_BASE": "http://127.0.0.1:12111"}, ["E009"]),
        ({"STRIPE_JS_URL": "https://js.stripe.com.evil.example/v3/"}, ["E009"]),
        ({"STRIPE_WEBHOOK_SECRETS": []}, ["E010"]),
        ({"STRIPE_SECRET_KEY": ""}, ["E010"]),
        ({"STRIPE_PUBLISHABLE_KEY": ""}, ["E010"]),
        ({"STRIPE_SECRET_KEY": f"rk{LIVE}"}, ["E011"]),
        ({"STRIPE_SECRET_KEY": f"sk{LIVE}", "STRIPE_PUBLISHABLE_KEY": f"pk{LIVE}"}, ["W001"]),
        ({"STRIPE_SECRET_KEY": f"rk{LIVE}", "STRIPE_PUBLISHABLE_KEY": f"pk{LIVE}"}, []),
        ({"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend"}, ["E012"]),
        ({"EMAIL_USE_TLS": False}, ["W002"]),
        ({"EMAIL_USE_TLS": False, "EMAIL_HOST": "localhost"}, []),
        ({"SUPPORT_MAILBOX": "imaps://support:secret@mail.example/INBOX"}, []),
        ({"SUPPORT_MAILBOX": "imap://support:secret@mail.example/INBOX"}, ["W008"]),
        ({"SUPPORT_MAILBOX": "imap://support:secret@localhost/INBOX"}, []),
        ({"DATABASES": DATABASES | {"worker": DATABASES["default"]}}, ["E013"]),
        (
            {"DATABASES": DATABASES | {"owner": DATABASES["owner"] | {"OPTIONS": {"sslmode": "prefer"}}}},
            ["W003"],
        ),
        ({"DATABASES": DATABASES | {"owner": DATABASES["owner"] | {"OPTIONS": {}}}}, ["W003"]),
        (
            {"DATABASES": DATABASES | {"owner": {"USER": "owner", "HOST": "/run/postgresql", "OPTIONS": {}}}},
            [],
        ),
        ({"REDIS_URL": "rediss://broker.example:6379/0"}, ["W004"]),
        ({"REDIS_URL": "redis://:secret@broker.example:6379/0"}, ["W005"]),
        ({"REDIS_URL": "redis://:secret@127.0.0.1:6379/0"}, []),
        ({"REDIS_URL": "rediss://:secret@cache.example:6379/1"}, ["W006"]),
    ],
    ids=lambda value: "+".join(value) or "nothing",
)
def test_each_check_names_what_it_is_for_and_nothing_else(changed: dict[str, Any], ids: list[str]) -> None:
    assert found(changed) == ids


def test_every_secret_of_a_demo_says_that_it_is_one(tmp_path: Any) -> None:
    from config.demo.environment import Kept

    made = key_settings(Kept(tmp_path / "kept.json"))

    assert is_of_demo(made["SECRET_KEY"])
    assert is_of_demo(made["FIELD_ENCRYPTION_KEYS"])
    assert made["STRIPE_SECRET_KEY"].startswith("sk_test_")


# --- Line 2: content-security policy ---------------------------------------------------------------------------


def policy(path: str) -> dict[str, str]:
    text = headers(path)["Content-Security-Policy"]
    directives = (part.strip().partition(" ") for part in text.split(";"))
    return {name: _without_nonce(value) for name, _space, value in directives}


def _without_nonce(value: str) -> str:
    return " ".join("'nonce-'" if word.startswith("'nonce-") else word for word in value.split())


@pytest.mark.parametrize("path", ["/sign-in/", "/products/", "/no/such/page/", "/healthz"])
def test_the_policy_of_pages_is_the_one_of_the_specification(path: str) -> None:
    said = policy(path)

    for name in ("script-src", "style-src"):
        # Without a script or style of its own a page names no nonce: it allows less.
        assert set(said[name].split()) <= set(POLICY[name].split())
    assert {n: set(v.split()) for n, v in said.items() if n not in ("script-src", "style-src")} == {
        n: set(v.split()) for n, v in POLICY.items() if n not in ("script-src", "style-src")
    }
    assert "unsafe" not in str(said)


def test_the_policy_of_the_admin_center_adds_what_its_skin_needs_and_no_host() -> None:
    said = policy("/admin/")

    assert said["script-src"].split().count("'unsafe-eval'") == 1
    assert "unsafe-inline" not in said["script-src"]
    assert "http" not in str(said)
    assert {said[name] for name in ("default-src", "frame-ancestors", "base-uri", "object-src")} == {"'none'"}
    assert said["form-action"] == "'self'"


# --- Line 4: transport, cookies, sessions, headers -------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers_of_the_specification(path: str) -> None:
    said = headers(path)

    assert said["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    assert said["X-Content-Type-Options"] == "nosniff"
    assert said["Referrer-Policy"] == "same-origin"
    assert said["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "no-store" in said["Cache-Control"]
    assert "Server" not in said
    assert "X-Powered-By" not in said


def test_http_is_led_to_https() -> None:
    assert production()["answers"]["http"]["status"] == 301
    assert headers("http")["Location"] == "https://seatkeeper.example/sign-in/"


def test_cookies_are_of_this_host_alone_and_unreadable_to_scripts() -> None:
    cookies = production()["answers"]["/sign-in/"]["cookies"]

    assert set(cookies) == {"__Host-csrf"}
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
        assert (cookie["path"], cookie["domain"]) == ("/", "")
    said = production()["settings"]
    assert said["SESSION_COOKIE_NAME"] == "__Host-session"
    for kind in ("SESSION", "CSRF"):
        assert said[f"{kind}_COOKIE_SECURE"] is said[f"{kind}_COOKIE_HTTPONLY"] is True
        assert (
            said[f"{kind}_COOKIE_SAMESITE"],
            said[f"{kind}_COOKIE_PATH"],
            said[f"{kind}_COOKIE_DOMAIN"],
        ) == (
            *("Lax", "/"),
            None,
        )


def test_sessions_are_in_postgresql_and_end() -> None:
    assert configured.SESSION_ENGINE == "django.contrib.sessions.backends.db"
    assert timedelta(hours=8).total_seconds() == configured.SESSION_COOKIE_AGE
    assert timedelta(hours=24) == configured.SESSION_ABSOLUTE_AGE
    assert timedelta(hours=1) == configured.SESSION_IDLE_ADMIN
    assert timedelta(minutes=5) == configured.SIGN_IN_IS_FRESH


# --- Lines 5 and 6: hosts, debugging, limits -------------------------------------------------------------------


def test_hosts_are_exact_and_nothing_debugs() -> None:
    said = production()["settings"]

    assert said["ALLOWED_HOSTS"] == ["seatkeeper.example"]
    assert said["CSRF_TRUSTED_ORIGINS"] == ["https://seatkeeper.example"]
    assert (said["DEBUG"], said["DEMO"], said["USE_X_FORWARDED_HOST"], said["USE_X_FORWARDED_PORT"]) == (
        *(False, False),
        *(False, False),
    )
    assert said["FORCE_SCRIPT_NAME"] == ""


def test_limits_are_those_of_the_specification() -> None:
    said = production()["settings"]

    names = ("SIGN_INS_PER_MINUTE", "BUYS_PER_MINUTE", "SCIM_PER_SECOND", "API_PER_SECOND", "API_BURST")
    assert [said[name] for name in (*names, "EXPORTS_PER_HOUR")] == [5, 10, 25, 10, 50, 5]


def test_what_is_sent_is_bounded() -> None:
    said = production()["settings"]

    assert said["DATA_UPLOAD_MAX_MEMORY_SIZE"] == 6_000_000
    assert said["DATA_UPLOAD_MAX_NUMBER_FIELDS"] == 1000
    assert said["DATA_UPLOAD_MAX_NUMBER_FILES"] == 100
    assert said["FILE_UPLOAD_HANDLERS"] == ["config.kit.uploads.BoundedUpload"]


# --- Line 9: identity providers --------------------------------------------------------------------------------


def test_no_account_is_linked_by_mail_and_nobody_signs_up() -> None:
    assert configured.SOCIALACCOUNT_EMAIL_AUTHENTICATION is False
    assert getattr(configured, "SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT", False) is False
    assert configured.SOCIALACCOUNT_AUTO_SIGNUP is False
    assert configured.SOCIALACCOUNT_STORE_TOKENS is False
    assert production()["settings"]["PRIVATE_PEERS"] is False


# --- Lines 11 and 12: logins of the database, the broker -------------------------------------------------------


@pytest.mark.parametrize(("login", "statement"), [("default", "15s"), ("worker", "2min"), ("owner", "0")])
def test_every_login_gives_up_in_time(login: str, statement: str) -> None:
    with use_login(login), connection().cursor() as cursor:
        shown = []
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SHOW {name}")
            shown.append(cursor.fetchone()[0])

    assert shown == [statement, "3s", "30s"]


def test_the_worker_reads_json_alone_and_loses_nothing() -> None:
    conf = celery.conf

    assert (list(conf.accept_content), conf.task_serializer, conf.result_serializer) == (
        ["json"],
        "json",
        "json",
    )
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert (
        0
        < conf.task_soft_time_limit
        < conf.task_time_limit
        < conf.broker_transport_options["visibility_timeout"]
    )


# --- What a browser may keep -----------------------------------------------------------------------------------


def test_nothing_personal_is_kept_by_a_cache() -> None:
    answer = client_of(make_user(make_tenant())).get("/my/accounts/")

    assert answer["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private" or (
        answer["Cache-Control"] == "private, no-store"
    )
    assert "Cookie" in answer["Vary"]
    assert "no-store" in Client().get("/sign-in/")["Cache-Control"]
