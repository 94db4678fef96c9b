"""The worker process: send queued mails until told to stop."""

import logging
import os
import signal
import socket
import time
from contextlib import contextmanager
from uuid import uuid4

from django.core.management.base import BaseCommand
from django.db import Error, connection

from mailqueue import queue

log = logging.getLogger("mailqueue.worker")


class Stop(BaseException):
    """Raised by a signal. Not an Exception, so that no mail library eats it."""


class Command(BaseCommand):
    help = "Send queued mails. On SIGTERM, give the mail in hand back and exit."

    def add_arguments(self, parser):
        parser.add_argument("--poll", type=float, default=1.0, help="seconds")
        parser.add_argument(
            "--drain", action="store_true", help="exit when all is sent"
        )

    def handle(self, *, poll, drain, **options):
        self.worker = f"{socket.gethostname()}.{os.getpid()}.{uuid4().hex[:8]}"
        self.stopping = self.interruptible = False
        signals = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, self.on_signal) for number in signals}
        log.info("worker %s started", self.worker)
        try:
            self.work(poll, drain)
        except Stop:
            pass
        finally:
            self.give_back()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def work(self, poll, drain):
        while not self.stopping:
            try:
                mail = queue.claim(self.worker)
            except Error as error:  # the database restarts, or is moved
                log.warning("cannot reach the queue: %s", type(error).__name__)
                connection.close()  # the next round opens a new one
                mail = None
            if mail:
                self.send(mail)
            elif drain:
                return
            else:
                with self.may_stop():
                    time.sleep(poll)

    def send(self, mail):
        try:
            with self.may_stop():
                queue.deliver(mail)
        except Exception as error:
            queue.mark_failed(mail, error)
            log.warning("%s %s: %s", mail, mail.status, mail.last_error)
        else:
            queue.mark_sent(mail)
            log.info("%s sent", mail)

    def give_back(self):
        try:
            count = queue.give_back(self.worker)
        except Error as error:  # the claim lapses by itself, only later
            log.warning("cannot give back: %s", type(error).__name__)
        else:
            log.info("worker %s stopped, gave back %d", self.worker, count)

    def on_signal(self, number, frame):
        self.stopping = True
        if self.interruptible:
            raise Stop

    @contextmanager
    def may_stop(self):
        """Where a signal breaks in at once: while it waits or talks to a mail
        server. Elsewhere the step in the database is finished first."""
        self.interruptible = True
        try:
            if self.stopping:
                raise Stop
            yield
        finally:
            self.interruptible = False
