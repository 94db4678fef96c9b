"""The worker as the platform runs it: a process that gets a SIGTERM."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase

INSERT = """
    INSERT INTO mailqueue_queuedmail ("to", subject, body, status, attempts,
        send_after, claimed_by, last_error, created)
    VALUES ('ada@example.org', 'Hello', 'Text', 'queued', 0,
        '2020-01-01', '', '', '2020-01-01')
"""


class ProcessTest(SimpleTestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "db.sqlite3"
        self.environ = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": "x" * 50,
            "DATABASE_URL": f"sqlite:///{self.path}",
        }
        subprocess.run(self.manage("migrate", "-v0"), env=self.environ, check=True)

    def manage(self, *args):
        return [sys.executable, settings.BASE_DIR / "manage.py", *args]

    def query(self, sql):
        with sqlite3.connect(self.path, timeout=20) as db:
            return db.execute(sql).fetchall()

    def start(self, **environ):
        worker = subprocess.Popen(
            self.manage("send_queued_mail"), env=self.environ | environ,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.addCleanup(worker.stdout.close)
        self.addCleanup(worker.kill)
        self.assertIn("started", worker.stdout.readline())
        return worker

    def stop(self, worker):
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(10), 0)
        self.assertLess(time.monotonic() - began, 3)
        return worker.stdout.read()

    def test_idle(self):
        worker = self.start()
        time.sleep(0.5)
        self.assertIn("gave back 0", self.stop(worker))

    def test_while_a_mail_server_does_not_answer(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(10)
            self.query(INSERT)
            url = f"smtp://127.0.0.1:{server.getsockname()[1]}"
            worker = self.start(EMAIL_URL=url)
            talk, _ = server.accept()  # and then say nothing
            with talk:
                claimed = "SELECT status, attempts FROM mailqueue_queuedmail"
                self.assertEqual(self.query(claimed), [("sending", 1)])
                self.assertIn("gave back 1", self.stop(worker))
                self.assertEqual(self.query(claimed), [("queued", 0)])
