"""A queue of mails in a table. Each mail is sent at least once.

A mail is claimed before it is sent, by an UPDATE that only one worker can win
on any of the databases. A worker that stops gives its mail back. One that was
killed cannot, so a claim also lapses after LEASE.
"""

from datetime import timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .models import QueuedMail

LEASE = timedelta(minutes=5)
MAX_ATTEMPTS = 5
QUEUED, SENDING, SENT, FAILED = QueuedMail.Status.values
UNCLAIMED = {"status": QUEUED, "claimed_by": "", "claimed_at": None}


def queue_mail(to, subject, body):
    """Part of the caller's transaction: no mail without its user, or the reverse."""
    return QueuedMail.objects.create(to=to, subject=subject, body=body)


def claim(worker):
    """The oldest mail that is due, now this worker's, or None."""
    now = timezone.now()
    with transaction.atomic():
        lapsed = QueuedMail.objects.filter(status=SENDING, claimed_at__lt=now - LEASE)
        lapsed.update(**UNCLAIMED)
        due = QueuedMail.objects.filter(status=QUEUED, send_after__lte=now)
        for pk in due.order_by("send_after", "pk").values_list("pk", flat=True)[:10]:
            if due.filter(pk=pk).update(
                status=SENDING,
                claimed_by=worker,
                claimed_at=now,
                attempts=F("attempts") + 1,
            ):
                return QueuedMail.objects.get(pk=pk)
    return None


def deliver(mail):
    send_mail(mail.subject, mail.body, settings.DEFAULT_FROM_EMAIL, [mail.to])


def mark_sent(mail):
    # The body may hold a secret link, and has done its work.
    mail.status, mail.body = SENT, ""
    mail.claimed_by, mail.last_error = "", ""
    mail.sent_at = timezone.now()
    mail.save()


def mark_failed(mail, error):
    """Try again in 1, 2, 4 and 8 minutes, then give up."""
    mail.status = FAILED if mail.attempts >= MAX_ATTEMPTS else QUEUED
    mail.send_after = timezone.now() + timedelta(minutes=2 ** (mail.attempts - 1))
    mail.claimed_by, mail.claimed_at = "", None
    mail.last_error = f"{type(error).__name__}: {error}"[:200]
    mail.save()


def give_back(worker):
    """Let others have what this worker did not finish. Not counted as a try."""
    mine = QueuedMail.objects.filter(status=SENDING, claimed_by=worker)
    return mine.update(attempts=F("attempts") - 1, **UNCLAIMED)
