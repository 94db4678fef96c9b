"""Read the two URLs that attach the app to its database and its mail server."""

import dj_database_url
import dj_email_url
from configurations import values

# Write-ahead logging lets pages be read while a row is written.
SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"


def database(url):
    """A URL as Django's settings. Its query becomes OPTIONS."""
    config = dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)
    options = config.setdefault("OPTIONS", {})
    if config["ENGINE"].endswith("sqlite3"):
        # Take the write lock when a transaction starts, and wait for it,
        # rather than fail when a read turns into a write.
        options.setdefault("transaction_mode", "IMMEDIATE")
        options.setdefault("init_command", SQLITE_PRAGMAS)
        options["timeout"] = int(options.get("timeout", 20))
    else:
        options["connect_timeout"] = int(options.get("connect_timeout", 5))
    return config


def email(url):
    """A URL as Django's EMAIL_ settings: smtp://, submission:// (with TLS),
    console://, file:///path. A name like consolemail:// is good too."""
    scheme, colon, rest = url.partition("://")
    config = dj_email_url.parse(scheme.removesuffix("mail") + colon + rest)
    if "EMAIL_BACKEND" not in config:
        raise ValueError("no such way to send mail")
    if config["EMAIL_TIMEOUT"] is None:
        config["EMAIL_TIMEOUT"] = 20
    return config


class DatabaseURL(values.DatabaseURLValue):
    caster = "blango.env.database"
    message = "DATABASE_URL cannot be read"  # the value holds a password


class EmailURL(values.EmailURLValue):
    caster = "blango.env.email"
    message = "EMAIL_URL cannot be read"
