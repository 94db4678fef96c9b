import json
import logging
import os
import subprocess
import sys
from unittest.mock import patch

from django.conf import settings
from django.db import OperationalError
from django.test import SimpleTestCase, TestCase

from . import env, logs

SQLITE = "sqlite:////data/db/db.sqlite3?transaction_mode=IMMEDIATE&timeout=20"


class UrlTest(SimpleTestCase):
    def test_sqlite_with_options(self):
        config = env.database(SQLITE)
        self.assertEqual(config["ENGINE"], "django.db.backends.sqlite3")
        self.assertEqual(config["NAME"], "/data/db/db.sqlite3")
        options = config["OPTIONS"]
        self.assertEqual(options["transaction_mode"], "IMMEDIATE")
        self.assertIs(type(options["timeout"]), int)
        self.assertEqual(options["timeout"], 20)
        self.assertIn("journal_mode=WAL", options["init_command"])

    def test_sqlite_without_options(self):
        options = env.database("sqlite:////data/db.sqlite3")["OPTIONS"]
        self.assertEqual(
            (options["timeout"], options["transaction_mode"]), (20, "IMMEDIATE")
        )

    def test_servers(self):
        for scheme, engine in (("postgres", "postgresql"), ("mysql", "mysql")):
            config = env.database(f"{scheme}://u:p%40ss@db.example.org:99/blog")
            self.assertEqual(config["ENGINE"], f"django.db.backends.{engine}")
            self.assertEqual((config["PASSWORD"], config["PORT"]), ("p@ss", 99))
            self.assertEqual(config["OPTIONS"], {"connect_timeout": 5})

    def test_email(self):
        self.assertIn(".console.", env.email("consolemail://")["EMAIL_BACKEND"])
        smtp = env.email("submission://me%40example.org:pw@mail.example.org")
        self.assertIn(".smtp.", smtp["EMAIL_BACKEND"])
        self.assertEqual(smtp["EMAIL_HOST_USER"], "me@example.org")
        self.assertEqual((smtp["EMAIL_PORT"], smtp["EMAIL_USE_TLS"]), (587, True))
        with self.assertRaises(ValueError):
            env.email("pigeon://")


class ProdTest(SimpleTestCase):
    """Prod in a process of its own, with nothing but what it is given."""

    def run_prod(self, code, **environ):
        environ = {"PATH": os.environ["PATH"], "SECRET_KEY": "x" * 50} | environ
        code = f"import blango.wsgi; from django.conf import settings; {code}"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=settings.BASE_DIR, env=environ,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout.strip() or done.stderr

    def test_a_build_needs_no_database(self):
        self.assertEqual(self.run_prod("print(settings.DEBUG)"), "False")

    def test_sqlite_options_arrive(self):
        code = "print(settings.DATABASES['default']['OPTIONS']['timeout'] + 1)"
        self.assertEqual(self.run_prod(code, DATABASE_URL=SQLITE), "21")

    def test_a_missing_secret_stops_it(self):
        self.assertIn("SECRET_KEY", self.run_prod("", SECRET_KEY=""))

    def test_errors_do_not_show_passwords(self):
        for name in ("DATABASE_URL", "EMAIL_URL"):
            said = self.run_prod("", **{name: "what://u:hidden@host/"})
            self.assertIn(f"{name} cannot be read", said)
            self.assertNotIn("hidden", said)


class OpsTest(TestCase):
    def test_healthz(self):
        answer = self.client.get("/healthz")
        self.assertEqual((answer.status_code, answer.text), (200, "ok\n"))

    def test_healthz_without_a_database(self):
        with patch("blango.ops.connection.cursor", side_effect=OperationalError):
            self.assertEqual(self.client.get("/healthz").status_code, 503)

    def test_version_and_headers(self):
        facts = {"release": "v7", "commit": "abc", "process": "web.2"}
        with patch("blango.ops.facts", return_value=facts):
            answer = self.client.get("/version")
        self.assertLessEqual(facts.items(), answer.json().items())
        self.assertEqual(answer.json()["prefix"], sys.prefix)
        self.assertEqual(answer["X-Blango-Release"], "v7")
        self.assertEqual(answer["X-Blango-Instance"], "web.2")


class LogTest(SimpleTestCase):
    def test_an_event_with_a_traceback_is_one_line(self):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            info = sys.exc_info()
        record = logging.LogRecord("blog", logging.ERROR, "", 1, "a\n%s", ("b",), info)
        line = logs.LineFormatter().format(record)
        self.assertNotIn("\n", line)
        self.assertIn('level=error logger=blog msg="a\\nb" trace=', line)
        self.assertIn("ValueError", json.loads(line.split("trace=")[1]))
