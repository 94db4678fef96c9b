"""Settings. What differs between deploys is read from the environment."""

from pathlib import Path

from configurations import Configuration, values

from . import env, logs

BASE_DIR = Path(__file__).resolve().parent.parent
PLAIN = {"environ_prefix": None}  # DEBUG is read from DEBUG, not DJANGO_DEBUG


class Base(Configuration):
    SECRET_KEY = values.SecretValue(**PLAIN)
    DEBUG = values.BooleanValue(False, **PLAIN)
    ALLOWED_HOSTS = values.ListValue([], **PLAIN)
    CSRF_TRUSTED_ORIGINS = values.ListValue([], **PLAIN)
    LOG_LEVEL = values.Value("INFO", **PLAIN)

    # Backing services. Without DATABASE_URL, Django has no database: enough
    # to collect the static files in a build.
    DATABASES = env.DatabaseURL()
    EMAIL = env.EmailURL("consolemail://")
    DEFAULT_FROM_EMAIL = values.Value("Blango <blango@example.org>", **PLAIN)
    MEDIA_ROOT = values.Value(str(BASE_DIR / "media"), **PLAIN)

    # An endpoint for load tests; see hits/views.py.
    HITS = values.BooleanValue(False, **PLAIN)
    HITS_SLEEP = values.BooleanValue(False, **PLAIN)

    INSTALLED_APPS = [
        "blog",
        "accounts",
        "mailqueue",
        "hits",
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ]
    MIDDLEWARE = [
        "blango.ops.release_headers",
        "django.middleware.security.SecurityMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    ROOT_URLCONF = "blango.urls"
    WSGI_APPLICATION = "blango.wsgi.application"
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [BASE_DIR / "templates"],
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                    "blango.ops.release",
                ]
            },
        }
    ]

    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    AUTH_PASSWORD_VALIDATORS = [
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "MinimumLengthValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ]
    LOGIN_URL = "login"
    LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "post-list"

    LANGUAGE_CODE = "en"
    TIME_ZONE = "UTC"
    USE_TZ = True

    STATIC_URL = "/static/"
    STATIC_ROOT = BASE_DIR / "staticfiles"
    STATICFILES_DIRS = [BASE_DIR / "static"]
    MEDIA_URL = "/media/"
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {
            "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        },
    }

    @property
    def LOGGING(self):
        return logs.config(self.LOG_LEVEL)


class Prod(Base):
    # The router in front ends TLS and sets this header itself.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    # Off by default, so that the app also works over plain http.
    SECURE_SSL_REDIRECT = values.BooleanValue(False, **PLAIN)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
    SECURE_HSTS_SECONDS = values.IntegerValue(0, **PLAIN)

    @property
    def SESSION_COOKIE_SECURE(self):
        return self.SECURE_SSL_REDIRECT

    @property
    def CSRF_COOKIE_SECURE(self):
        return self.SECURE_SSL_REDIRECT


class Dev(Base):
    SECRET_KEY = values.Value("only-for-development", **PLAIN)
    DEBUG = values.BooleanValue(True, **PLAIN)
    ALLOWED_HOSTS = values.ListValue(["localhost", ".localhost", "127.0.0.1"], **PLAIN)
    DATABASES = env.DatabaseURL(f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True
    STORAGES = Base.STORAGES | {
        "staticfiles": {
            "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        }
    }


class Test(Dev):
    # Fast, not safe: the tests log in often.
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    LOG_LEVEL = values.Value("CRITICAL", **PLAIN)
