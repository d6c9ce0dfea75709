"""Django settings: the only module that reads the environment.

Every deployment knob is a variable listed in docs/settings.md. Importing this module needs no
variable at all, so that checks, type checking and `makemigrations` run without servers; whatever
does need one (a database, a secret key in production) fails where it is first used, by name.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent


def _text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def _flag(name: str, *, default: bool = False) -> bool:
    value = _text(name).lower()
    if value in {"", "1", "true", "yes", "on", "0", "false", "no", "off"}:
        return value in {"1", "true", "yes", "on"} if value else default
    message = f"{name} must be one of true, false, 1, 0, yes, no, on, off; got {value!r}."
    raise ImproperlyConfigured(message)


def _number(name: str, default: int) -> int:
    value = _text(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        message = f"{name} must be a whole number; got {value!r}."
        raise ImproperlyConfigured(message) from None


def _one_of(name: str, values: tuple[str, ...]) -> str:
    """Return one of `values`, the first by default."""
    value = _text(name, values[0]).lower()
    if value not in values:
        message = f"{name} must be one of {', '.join(values)}; got {value!r}."
        raise ImproperlyConfigured(message)
    return value


def _names(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in _text(name, default).split(",") if part.strip()]


def _choice(name: str, *allowed: str) -> str:
    value = _text(name, allowed[0]).lower()
    if value not in allowed:
        message = f"{name} must be one of {', '.join(allowed)}; got {value!r}."
        raise ImproperlyConfigured(message)
    return value


def _prefix(name: str) -> str:
    value = _text(name)
    if value and not value.startswith("/"):
        message = f"{name} must be a path such as /protected/; got {value!r}."
        raise ImproperlyConfigured(message)
    return f"{value.rstrip('/')}/" if value else ""


def _database(url: str, *, pooled: bool) -> dict[str, Any]:
    """Django's settings for one PostgreSQL URL (libpq syntax, `?host=/socket/dir` included)."""
    if not url:
        # Says "improperly configured" when it is used, and lets everything else run.
        return {"ENGINE": "django.db.backends.dummy"}
    given: dict[str, Any] = dict(conninfo_to_dict(url))
    options: dict[str, Any] = {"server_side_binding": True}
    if pooled:
        options["pool"] = {
            "min_size": 0,
            "max_size": _number("SIGNATE_POOL_SIZE", 20),
            "timeout": 3,
        }
    else:
        # A migration waits for a lock this long, then gives up instead of queueing everybody.
        options["options"] = "-c lock_timeout=10s"
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": given.pop("dbname", "signate"),
        "USER": given.pop("user", ""),
        "PASSWORD": given.pop("password", ""),
        "HOST": given.pop("host", ""),
        "PORT": given.pop("port", ""),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**given, **options},
    }


# --- who we are -----------------------------------------------------------------------------
DEBUG = _flag("SIGNATE_DEBUG")
# Without a key of its own a process gets one that dies with it: nothing signed elsewhere is valid
# here and nothing signed here is valid elsewhere, which is safe and quickly noticed.
SECRET_KEY = _text("SIGNATE_SECRET_KEY") or secrets.token_urlsafe(50)
# Keys of before: what they signed is still read, and nothing new is signed with them.
SECRET_KEY_FALLBACKS = _names("SIGNATE_SECRET_KEY_FALLBACKS")
PLATFORM_DOMAIN = _text("SIGNATE_PLATFORM_DOMAIN", "signage.app").lower()
# Hosts are judged by tenancy.resolution, which knows tenants' own domains; Django's list, which
# knows none, is therefore open, and tenancy.middleware refuses what is not a host before any view.
ALLOWED_HOSTS = ["*"]
SITE_SCHEME = _text("SIGNATE_SITE_SCHEME", "http" if DEBUG else "https")
# The port people see in the address bar; part of the URLs that answers name.
SITE_PORT = _text("SIGNATE_SITE_PORT")
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "project",
    "rls",
    "tenancy",
    "procrastinate.contrib.django",
    "assets",
    "graph",
    "strawberry_django",
    "corsheaders",
    # Only its machinery: the site is tenancy.admin's.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "tenancy.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tenancy.middleware.HostMiddleware",
    # Before whoever refuses: a page can read only what these headers allow.
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "tenancy.middleware.ActorMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# The admin site shows and writes nothing, so that it needs no messages; who asks is found out by
# tenancy.middleware, as everywhere.
SILENCED_SYSTEM_CHECKS = [f"admin.{code}" for code in ("E402", "E404", "E408", "E409")]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
]

# --- PostgreSQL -----------------------------------------------------------------------------
# `default` connects as signage_app, which owns nothing and obeys the wall. `owner` is there only
# where migrations and roles are made; a web process needs no such credential and should have none.
DATABASES = {
    "default": _database(_text("DATABASE_URL"), pooled=True),
}
if _text("DATABASE_OWNER_URL"):
    DATABASES["owner"] = _database(_text("DATABASE_OWNER_URL"), pooled=False)
# What the worker takes jobs with: it sees the queue and no tenant's rows. Jobs themselves run as
# `default`, each inside its own tenant.
if _text("DATABASE_WORKER_URL"):
    DATABASES["worker"] = _database(_text("DATABASE_WORKER_URL"), pooled=False)
DATABASE_SUPERUSER_URL = _text("DATABASE_SUPERUSER_URL")
DATABASE_ROUTERS = ["rls.router.OwnerMigrates"]
# Statements that are asked all the time are prepared; a PgBouncer in transaction mode has to be of
# version 1.21 or later for it.
PREPARED_STATEMENTS = _flag("SIGNATE_PREPARED_STATEMENTS", default=True)
# Citus refuses sub-SELECTs in policies; everywhere else they let PostgreSQL evaluate the context
# once per statement instead of once per row.
RLS_CITUS = _flag("SIGNATE_CITUS")

# --- Redis: a helper, never a source of truth -------------------------------------------------
REDIS_URL = _text("REDIS_URL")
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "signate",
        "OPTIONS": {
            "IGNORE_EXCEPTIONS": True,
            # Not pickle: whoever could write to Redis could then run code here.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 0.25,
            "SOCKET_TIMEOUT": 0.5,
        },
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
# tenancy.limits says in one line that Redis is away; a traceback for each call says no more.
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = False

# Queries that can be are answered by one statement each; off, every one walks through resolvers.
COMPILED_READS = _flag("SIGNATE_COMPILED_READS", default=True)

# --- people -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "tenancy.User"
AUTHENTICATION_BACKENDS = ["tenancy.credentials.PasswordBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/graphql"
# Cookies belong to one host: a session of one tenant's host is never sent to another's.
# The cookie names a row of tenancy.sessions, which is what can be listed and ended.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = SITE_SCHEME == "https"
CSRF_COOKIE_SECURE = SITE_SCHEME == "https"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "tenancy.views.stale_form"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = _number("SIGNATE_HSTS_SECONDS", 0)
if _flag("SIGNATE_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Who may make themselves an account: nobody, who was invited, or whoever has an e-mail address.
SIGN_UP = _text("SIGNATE_SIGN_UP", "invited").lower()
if SIGN_UP not in {"closed", "invited", "open"}:
    raise ImproperlyConfigured("SIGNATE_SIGN_UP must be closed, invited or open.")

# A verified Basic credential is remembered this long (seconds), bound to its version.
BASIC_REMEMBERED_SECONDS = 300
# Wrong passwords in LOGIN_WINDOW_SECONDS before an account or an address has to wait.
LOGIN_WINDOW_SECONDS = 300
LOGIN_FAILURES_PER_ACCOUNT = _number("SIGNATE_LOGIN_FAILURES_PER_ACCOUNT", 10)
# Requests that one capability address is good for in a minute.
CAPABILITY_REQUESTS_PER_MINUTE = _number("SIGNATE_CAPABILITY_REQUESTS_PER_MINUTE", 300)
LOGIN_FAILURES_PER_ADDRESS = _number("SIGNATE_LOGIN_FAILURES_PER_ADDRESS", 100)
# Wrong codes of a second factor in SECOND_FACTOR_WINDOW_SECONDS before a person has to wait. There
# are a million codes, three of them right at any time.
SECOND_FACTOR_WINDOW_SECONDS = 900
SECOND_FACTOR_FAILURES = _number("SIGNATE_SECOND_FACTOR_FAILURES", 5)

# --- GraphQL ----------------------------------------------------------------------------------
# What one operation may ask for (graph.limits); docs/graphql-http.md says what each one counts.
GRAPHQL_LIMITS = {
    "tokens": _number("SIGNATE_GRAPHQL_MAX_TOKENS", 1_000),
    "depth": _number("SIGNATE_GRAPHQL_MAX_DEPTH", 10),
    "aliases": _number("SIGNATE_GRAPHQL_MAX_ALIASES", 30),
    "root_fields": _number("SIGNATE_GRAPHQL_MAX_ROOT_FIELDS", 20),
    "mutations": _number("SIGNATE_GRAPHQL_MAX_MUTATIONS", 5),
    "cost": _number("SIGNATE_GRAPHQL_MAX_COST", 20_000),
    "fields": 1_000,
    "repeated_fields": 20,
    "directives": 50,
    "variables": 100,
    # Characters of a document, and of one literal in it.
    "document": 20_000,
    "literal": 10_000,
    # In all variables together, lists and objects counted item by item.
    "variable_values": 10_000,
    # What tools ask the schema about itself goes deeper than anything else, and comes to 134,000.
    "introspection_depth": 20,
    "introspection": 200_000,
}
# What an actor may spend in a minute, in the same units as "cost"; 0 for as much as anybody likes.
GRAPHQL_BUDGET = _number("SIGNATE_GRAPHQL_BUDGET", 20_000_000)
# Operations of one socket at once, and of one actor's sockets in one process.
GRAPHQL_SUBSCRIPTIONS_PER_SOCKET = _number("SIGNATE_GRAPHQL_SUBSCRIPTIONS_PER_SOCKET", 50)
GRAPHQL_SUBSCRIPTIONS_PER_ACTOR = _number("SIGNATE_GRAPHQL_SUBSCRIPTIONS_PER_ACTOR", 200)
# Bytes of one request without files.
GRAPHQL_MAX_BODY_BYTES = _number("SIGNATE_GRAPHQL_MAX_BODY_BYTES", 65_536)
# Documents of manifests (manage.py trust_documents): not looked for, run by their ids beside all
# others, or nothing else run for who comes with one of these credentials.
TRUSTED_DOCUMENTS = _one_of("SIGNATE_TRUSTED_DOCUMENTS", ("off", "on", "only"))
TRUSTED_DOCUMENTS_FOR = _names(
    "SIGNATE_TRUSTED_DOCUMENTS_FOR", "session,basic,token,device,capability"
)
# Pages of other origins that may use GraphQL from a browser; `*` for all of them.
_ORIGINS = _names("SIGNATE_CORS_ORIGINS")
CORS_ALLOW_ALL_ORIGINS = _ORIGINS == ["*"]
CORS_ALLOWED_ORIGINS = [] if CORS_ALLOW_ALL_ORIGINS else _ORIGINS
# Whether they may do so as whoever is signed in here, by cookie; needs origins by name.
CORS_ALLOW_CREDENTIALS = _flag("SIGNATE_CORS_CREDENTIALS")
if CORS_ALLOW_CREDENTIALS and "*" in _ORIGINS:
    raise ImproperlyConfigured("SIGNATE_CORS_CREDENTIALS needs SIGNATE_CORS_ORIGINS by name.")
CSRF_TRUSTED_ORIGINS = CORS_ALLOWED_ORIGINS if CORS_ALLOW_CREDENTIALS else []
CORS_URLS_REGEX = r"^/graphql$"
CORS_ALLOW_METHODS = ["GET", "POST"]
CORS_ALLOW_HEADERS = [
    "accept",
    "apollo-require-preflight",
    "authorization",
    "content-type",
    "graphql-preflight",
    "idempotency-key",
    "if-none-match",
    "x-csrftoken",
    "x-request-id",
    "x-requested-with",
    "x-tenant-id",
]
CORS_EXPOSE_HEADERS = ["etag", "retry-after", "x-request-id"]

# --- sockets ----------------------------------------------------------------------------------
# Requests that a process of project.asgi works on at once.
ASGI_THREADS = _number("SIGNATE_ASGI_THREADS", 4)
# Open at once in one process, and of one credential's owner in it.
SOCKETS = _number("SIGNATE_SOCKETS", 5000)
SOCKETS_PER_ACTOR = _number("SIGNATE_SOCKETS_PER_ACTOR", 100)

# --- members ----------------------------------------------------------------------------------
# Who may make a tenant: "people" (everybody with an account) or "operators" (commands only); and
# how many one person may own.
TENANT_CREATION = _choice("SIGNATE_TENANT_CREATION", "people", "operators")
TENANTS_PER_PERSON = _number("SIGNATE_TENANTS_PER_PERSON", 5)
# Days between the wish to delete a tenant and its end.
DELETION_GRACE_DAYS = _number("SIGNATE_DELETION_GRACE_DAYS", 30)
# What answers questions for TXT records: a class as tenancy.dns.Resolver.
DOMAIN_RESOLVER = "tenancy.dns.Resolver"
# How long an invitation is good for, and how many a tenant may send in an hour.
INVITATION_DAYS = _number("SIGNATE_INVITATION_DAYS", 7)
INVITATIONS_PER_HOUR = _number("SIGNATE_INVITATIONS_PER_HOUR", 100)
# When a member was last there is written once in so many seconds at most; 0 never writes it.
LAST_ACCESS_SECONDS = _number("SIGNATE_LAST_ACCESS_SECONDS", 300)

# --- e-mail -----------------------------------------------------------------------------------
# Without a host mails are printed, which is for trying things out.
EMAIL_HOST = _text("SIGNATE_EMAIL_HOST")
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if EMAIL_HOST
    else "django.core.mail.backends.console.EmailBackend"
)
EMAIL_PORT = _number("SIGNATE_EMAIL_PORT", 587)
EMAIL_HOST_USER = _text("SIGNATE_EMAIL_USER")
EMAIL_HOST_PASSWORD = _text("SIGNATE_EMAIL_PASSWORD")
EMAIL_USE_TLS = _flag("SIGNATE_EMAIL_TLS", default=True)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = _text("SIGNATE_EMAIL_FROM", f"Signate <no-reply@{PLATFORM_DOMAIN}>")

# --- proof of play ----------------------------------------------------------------------------
# Days of it that a tenant keeps; older ones are removed, the assets' own counts are not.
PLAYBACK_DAYS = _number("SIGNATE_PLAYBACK_DAYS", 400)

# --- audit log --------------------------------------------------------------------------------
# Days of it that are kept; fewer than 30 cannot be had, the database itself keeps those.
AUDIT_DAYS = _number("SIGNATE_AUDIT_DAYS", 730)

# --- files, language, logs --------------------------------------------------------------------
STATIC_URL = "/static/"
# Where `collectstatic` puts them; without it they are served from where they lie.
STATIC_ROOT = _text("SIGNATE_STATIC_ROOT") or None
# What set-up copies out of npm packages (GraphiQL) lies here; absent where npm was not there.
VENDOR_DIR = Path(_text("SIGNATE_VENDOR_DIR", str(BASE_DIR / ".local" / "vendor")))
STATICFILES_DIRS = [VENDOR_DIR] if VENDOR_DIR.is_dir() else []
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
# Copies of pinned npm packages: their paths carry the version.
WHITENOISE_IMMUTABLE_FILE_TEST = r"^/static/npm/"
MEDIA_ROOT = Path(_text("SIGNATE_MEDIA_ROOT", str(BASE_DIR / ".local" / "media")))
# Where uploads are put together before the storage gets them: a folder that every web process and
# worker shares.
UPLOAD_DIR = Path(_text("SIGNATE_UPLOAD_DIR", str(MEDIA_ROOT.parent / "uploads")))
# The largest file a tenant may upload, by its tier, in GB of 10**9 bytes.
MAX_UPLOAD_GB = {
    "basic": _number("SIGNATE_MAX_UPLOAD_GB_BASIC", 4),
    "professional": _number("SIGNATE_MAX_UPLOAD_GB_PROFESSIONAL", 20),
    "enterprise": _number("SIGNATE_MAX_UPLOAD_GB_ENTERPRISE", 50),
    "legacy": _number("SIGNATE_MAX_UPLOAD_GB_LEGACY", 50),
}
FILE_UPLOAD_PERMISSIONS = 0o640
# No other account of the machine lists what tenants have.
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o750
# Media lies in MEDIA_ROOT, or in a bucket of an S3-compatible service where one is named.
S3_BUCKET = _text("SIGNATE_S3_BUCKET")
S3_ENDPOINT_URL = _text("SIGNATE_S3_ENDPOINT_URL")
S3_REGION = _text("SIGNATE_S3_REGION")
S3_ACCESS_KEY_ID = _text("SIGNATE_S3_ACCESS_KEY_ID")
S3_SECRET_ACCESS_KEY = _text("SIGNATE_S3_SECRET_ACCESS_KEY")
# Whether whoever may have a file is sent to the service for it, or gets it through us.
S3_REDIRECT = _flag("SIGNATE_S3_REDIRECT")
STORAGES = {
    "default": {
        "BACKEND": "assets.bucket_storage.BucketStorage"
        if S3_BUCKET
        else "assets.folder_storage.FolderStorage"
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# The proxy in front sends files out of MEDIA_ROOT itself, under this internal prefix.
ACCEL_REDIRECT = _prefix("SIGNATE_ACCEL_REDIRECT")
DATA_UPLOAD_MAX_MEMORY_SIZE = _number("SIGNATE_MAX_BODY_BYTES", 1_048_576)
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "tenancy.logs.LineFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _text("SIGNATE_LOG_LEVEL", "INFO")},
    "loggers": {
        # Refusals are ours to log, once, with the request id; Django's own line says less.
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "ERROR"},
        "strawberry": {"level": "CRITICAL"},
        "procrastinate": {"level": "WARNING"},
    },
}
