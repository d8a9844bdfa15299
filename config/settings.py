"""Settings, all read from the environment (architecture §1).

`make run` writes the addresses of the servers it started to `var/env`; a process started in the same
checkout reads them from there unless its own environment says otherwise.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.urls import reverse_lazy
from django.utils.csp import CSP

from config.kit.http import embedded_headers

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = environ.Env()
env_file = Path(env.str("SEATKEEPER_ENV_FILE", default=str(VAR_DIR / "env")))
if env_file.is_file():
    env.read_env(str(env_file))

# --- What this installation is -------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
DEMO = env.bool("DEMO", default=False)
SECRET_KEY = env.str("SECRET_KEY")
# Keys of before, whose signatures are still good; empty but while one is exchanged.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# Keys for secrets kept in the database, newest first (Fernet).
FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS")
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
IS_HTTPS = PUBLIC_URL.startswith("https://")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[PUBLIC_URL.split("://", 1)[1].rsplit(":", 1)[0]])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
# Always at the root of its host: some servers would let a header say where it is mounted.
FORCE_SCRIPT_NAME = ""
CLOCK_FILE = env.str("CLOCK_FILE", default=str(VAR_DIR / "clock.json"))
VENDOR_NAME = env.str("VENDOR_NAME", default="Seatkeeper")

INSTALLED_APPS = [
    "unfold",
    "config.apps.SeatkeeperAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "config.kit.apps.KitConfig",
    "directory.apps.DirectoryConfig",
    "policies.apps.PoliciesConfig",
    "commerce.apps.CommerceConfig",
    "licensing.apps.LicensingConfig",
    "config.apps.ConfigConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.kit.http.SecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.kit.languages.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "directory.middleware.AccessMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "directory.context.actor",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
            "builtins": ["config.kit.templatetags.kit"],
        },
    }
]

# --- Database: three logins, none a member of another (architecture §4) ---------------------------------


def _database(url_name: str, *, statement_timeout: str) -> dict[str, Any]:
    """One login's connection settings from the URL in the environment variable `url_name`."""
    config: dict[str, Any] = env.db_url(url_name)
    config["ENGINE"] = "config.kit.postgresql"
    config["ATOMIC_REQUESTS"] = False
    config["CONN_MAX_AGE"] = 300
    config["CONN_HEALTH_CHECKS"] = True
    config.setdefault("OPTIONS", {})["options"] = (
        f"-c statement_timeout={statement_timeout} -c lock_timeout=3s"
        " -c idle_in_transaction_session_timeout=30s"
    )
    return config


DATABASES = {
    "default": _database("DATABASE_URL", statement_timeout="15s"),
    "owner": _database("DATABASE_OWNER_URL", statement_timeout="0"),
    "worker": _database("DATABASE_WORKER_URL", statement_timeout="120s"),
}
DATABASES["owner"]["TEST"] = {"DEPENDENCIES": [], "NAME": env.str("TEST_DATABASE_NAME", default=None)}
DATABASES["default"]["TEST"] = {"MIRROR": "owner"}
DATABASES["worker"]["TEST"] = {"MIRROR": "owner"}
DATABASE_ROUTERS = ["config.kit.tenancy.LoginRouter"]

# --- Broker and cache ----------------------------------------------------------------------------------

REDIS_URL = env.str("REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": env.str("CACHE_URL", default=REDIS_URL.rsplit("/", 1)[0] + "/1"),
        "KEY_PREFIX": "seatkeeper",
    }
}
CELERY_BROKER_URL = REDIS_URL

# --- Sign-in and sessions ------------------------------------------------------------------------------

AUTH_USER_MODEL = "directory.User"
AUTHENTICATION_BACKENDS = ["directory.sign_in.SessionBackend"]
LOGIN_NAME = "directory:sign-in"
LOGIN_URL = reverse_lazy(LOGIN_NAME)
LOGIN_REDIRECT_URL = "/"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_ABSOLUTE_AGE = timedelta(hours=24)
SESSION_IDLE_ADMIN = timedelta(hours=1)
# How lately somebody must have signed in to do what a browser that was left open must not (reliability §7).
SIGN_IN_IS_FRESH = timedelta(minutes=5)
BUYS_PER_MINUTE = env.int("BUYS_PER_MINUTE", default=10)
SIGN_INS_PER_MINUTE = env.int("SIGN_INS_PER_MINUTE", default=5)
# A pasted list of 100,000 people; a file goes to disk, as far as a page takes one.
DATA_UPLOAD_MAX_MEMORY_SIZE = 6_000_000
FILE_UPLOAD_HANDLERS = ["config.kit.uploads.BoundedUpload"]
EXPORTS_PER_HOUR = env.int("EXPORTS_PER_HOUR", default=5)
# Calls of one token: in the long run and at once; entitlement checks, which a product makes at each sign-in, apart.
API_PER_SECOND = env.int("API_PER_SECOND", default=10)
API_BURST = env.int("API_BURST", default=50)
# What is no good token, from one network; a good one always passes.
BAD_TOKENS_PER_MINUTE = env.int("BAD_TOKENS_PER_MINUTE", default=120)
# A directory's first run sends thousands of calls one after the other.
SCIM_PER_SECOND = env.int("SCIM_PER_SECOND", default=25)
SCIM_BURST = env.int("SCIM_BURST", default=200)
ENTITLEMENTS_PER_SECOND = env.int("ENTITLEMENTS_PER_SECOND", default=1000)
PDFS_PER_MINUTE = env.int("PDFS_PER_MINUTE", default=60)
SESSION_COOKIE_NAME = "__Host-session" if IS_HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if IS_HTTPS else "csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "config.errors.csrf_failure"

SOCIALACCOUNT_ADAPTER = "directory.sign_in.TenantSocialAccountAdapter"
ACCOUNT_ADAPTER = "directory.sign_in.ClosedAccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*"]
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_AUTO_SIGNUP = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
# The second factor of the vendor's staff (docs/adr/0033).
MFA_ADAPTER = "directory.factors.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]

# --- Card processor ------------------------------------------------------------------------------------

STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_PUBLISHABLE_KEY = env.str("STRIPE_PUBLISHABLE_KEY", default="")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="https://api.stripe.com").rstrip("/")
STRIPE_JS_URL = env.str("STRIPE_JS_URL", default="https://js.stripe.com/v3/")
STRIPE_LIVEMODE = STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))

# --- Mail ----------------------------------------------------------------------------------------------

EMAIL_CONFIG = env.email_url("EMAIL_URL", default=f"filemail:///{VAR_DIR / 'mail'}")
vars().update(EMAIL_CONFIG)
# How long the mail server may say nothing, at each step; without it a silent one would hold a worker for good.
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=30)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Seatkeeper <no-reply@seatkeeper.example>")

# --- Language, time, static files -----------------------------------------------------------------------

LANGUAGE_CODE = "en"
# By their own names: whoever looks for theirs may not read the page.
LANGUAGES = [("en", "English"), ("nl", "Nederlands")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(VAR_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
# Files at addresses of their own, for pages of products on other sites (docs/embed.md).
WHITENOISE_ROOT = BASE_DIR / "public"
WHITENOISE_ADD_HEADERS_FUNCTION = embedded_headers

# --- Security headers (reliability §7) ------------------------------------------------------------------

SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
# Who may frame a page is said by `frame-ancestors` of its content-security policy.
SILENCED_SYSTEM_CHECKS = ["security.W002"]
# How many proxies of our own append to X-Forwarded-For.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=int(env.bool("BEHIND_PROXY", default=False)))
# Whether identity providers and other tenant-named peers may be on private addresses: one machine, no TLS.
PRIVATE_PEERS = env.bool("PRIVATE_PEERS", default=not IS_HTTPS)
if env.bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Name servers that are asked for the records of domains, each as address:port; empty: those of the machine.
DNS_SERVERS = env.list("DNS_SERVERS", default=[])

_processor = STRIPE_JS_URL.split("/v3")[0]
_processor_hosts = [_processor, "https://hooks.stripe.com"] if "stripe.com" in _processor else [_processor]
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.NONCE, CSP.STRICT_DYNAMIC, _processor],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF, STRIPE_API_BASE],
    "frame-src": _processor_hosts,
    "form-action": [CSP.SELF],
    "manifest-src": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "object-src": [CSP.NONE],
}
# unfold's Alpine evaluates strings as script (ecosystem: unfold 0.110), so its pages get a policy of their own.
ADMIN_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE, CSP.UNSAFE_EVAL],
    "style-src": [CSP.SELF, CSP.UNSAFE_INLINE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "manifest-src": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "object-src": [CSP.NONE],
}

# Pages of the admin center on which a card is entered or its bank asks.
ADMIN_CARD_CSP: dict[str, list[str]] = ADMIN_CSP | {
    "script-src": [*ADMIN_CSP["script-src"], _processor],
    "connect-src": [*ADMIN_CSP["connect-src"], STRIPE_API_BASE],
    "frame-src": _processor_hosts,
}

# --- Rules that an installation may set -----------------------------------------------------------------

CHECKOUT_KEPT = timedelta(hours=24)
REFUND_WINDOW = timedelta(days=7)
# How long an offered purchase waits for the colleague.
HAND_OVER_KEPT = timedelta(days=14)
# How long after its users a centralization can be undone and its money waits.
CENTRALIZE_MONEY_AFTER = timedelta(hours=env.int("CENTRALIZE_MONEY_AFTER_HOURS", default=24))
# How long the result file of a job can be downloaded, and how long the job with its rows is kept.
JOB_FILES_KEPT = timedelta(days=7)
JOBS_KEPT = timedelta(days=90)
# How long what a person was told can be read in the portal; then its content is forgotten.
NOTICES_KEPT = timedelta(days=180)
# How long it is known who did what, and to whom a person's bill was made out (product §11). Entries younger than 180
# days cannot be deleted at all.
AUDIT_KEPT = timedelta(days=max(env.int("AUDIT_KEPT_DAYS", default=2 * 365), 180))
BILLS_KEPT = timedelta(days=env.int("BILLS_KEPT_DAYS", default=3653))
RENEWAL_BATCH = env.int("RENEWAL_BATCH", default=2000)
CHARGE_LEASE = timedelta(minutes=5)
# How many bills one worker charges side by side, and how many calls all sweeps together make to the processor.
CHARGES_AT_ONCE = env.int("CHARGES_AT_ONCE", default=8)
PROCESSOR_CALLS_PER_SECOND = env.int("PROCESSOR_CALLS_PER_SECOND", default=80)
# How long before its end a card is announced that a later charge would need.
CARD_EXPIRY_NOTICE = timedelta(days=30)
TERMS_VERSION = "2026-11"
# The public register of VAT numbers, such as https://ec.europa.eu/taxation_customs/vies/rest-api; empty: not asked.
VAT_REGISTER_URL = env.str("VAT_REGISTER_URL", default="").rstrip("/")
VAT_REGISTER_SECONDS = env.int("VAT_REGISTER_SECONDS", default=4)
# Where answers to support cases are mailed to, such as support@vendor.example, which takes support+anything@ as well; and
# the mailbox in which they are read, such as imaps://user:password@mail.vendor.example/INBOX. Empty: by page alone, or
# through `manage.py receive_case_mail`.
SUPPORT_ADDRESS = env.str("SUPPORT_ADDRESS", default="")
SUPPORT_MAILBOX = env.str("SUPPORT_MAILBOX", default="")
# Where weaknesses of this installation are reported, best first, such as mailto:security@vendor.example; empty: not said.
SECURITY_CONTACTS = env.list("SECURITY_CONTACTS", default=[])

UNFOLD = {
    "SITE_TITLE": "Seatkeeper",
    "SITE_HEADER": "Seatkeeper",
    "SITE_SUBHEADER": "config.navigation.subheader",
    "SITE_SYMBOL": "event_seat",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "config.navigation.mark_svg"},
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [
        "config.navigation.tokens_css",
        "config.navigation.seatkeeper_css",
        "config.navigation.admin_css",
    ],
    "COMMAND": {"search_models": False},
    "COLORS": {
        "primary": {
            "50": "oklch(97.2% .013 272)",
            "100": "oklch(94.2% .027 272)",
            "200": "oklch(88.8% .055 272)",
            "300": "oklch(81% .096 272)",
            "400": "oklch(74% .13 272)",
            "500": "oklch(66% .165 272)",
            "600": "oklch(52.5% .196 272)",
            "700": "oklch(45.8% .182 272)",
            "800": "oklch(39.5% .152 272)",
            "900": "oklch(34% .118 272)",
            "950": "oklch(25% .085 272)",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "config.navigation.sidebar",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "config.kit.logs.MaskingFormatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    # A line or two a request, and nothing in them that ours do not say.
    "loggers": {name: {"level": "WARNING"} for name in ("stripe", "httpx")},
}
