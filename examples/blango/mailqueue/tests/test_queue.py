from datetime import timedelta
from unittest.mock import patch

from django.core import mail as outbox
from django.core.management import call_command
from django.test import TestCase
from django.utils import timezone

from mailqueue import queue
from mailqueue.management.commands.send_queued_mail import Stop
from mailqueue.models import QueuedMail


def queue_some(count=1):
    return [
        queue.queue_mail(f"user{n}@example.org", f"Mail {n}", "Text")
        for n in range(count)
    ]


class QueueTest(TestCase):
    def test_each_mail_is_claimed_once_and_in_order(self):
        first, second = queue_some(2)
        self.assertEqual(queue.claim("a"), first)
        self.assertEqual(queue.claim("b"), second)
        self.assertIsNone(queue.claim("a"))

    def test_a_lost_race_is_no_claim(self):
        (mail,) = queue_some()
        rows = QueuedMail.objects.filter(pk=mail.pk).values_list("pk", flat=True)
        with patch("django.db.models.query.QuerySet.update", return_value=0):
            self.assertIsNone(queue.claim("late"))
        self.assertEqual(list(rows.filter(claimed_by="")), [mail.pk])

    def test_give_back_returns_only_ones_own(self):
        queue_some(2)
        queue.claim("a")
        other = queue.claim("b")
        self.assertEqual(queue.give_back("a"), 1)
        back = queue.claim("c")
        self.assertEqual((back.subject, back.attempts), ("Mail 0", 1))
        other.refresh_from_db()
        self.assertEqual((other.status, other.claimed_by), (queue.SENDING, "b"))

    def test_the_claim_of_a_killed_worker_lapses(self):
        queue_some()
        queue.claim("killed")
        self.assertIsNone(queue.claim("b"))
        QueuedMail.objects.update(claimed_at=timezone.now() - timedelta(hours=1))
        self.assertEqual(queue.claim("b").attempts, 2)

    def test_failures_wait_longer_each_time_and_end(self):
        queue_some()
        for attempt in range(1, queue.MAX_ATTEMPTS + 1):
            QueuedMail.objects.update(send_after=timezone.now())
            mail = queue.claim("a")
            queue.mark_failed(mail, OSError("no route"))
            self.assertIsNone(queue.claim("a"), "it is not due yet")
        self.assertEqual((mail.status, mail.attempts), (queue.FAILED, attempt))
        self.assertEqual(mail.last_error, "OSError: no route")


class CommandTest(TestCase):
    def test_it_sends_and_forgets_the_body(self):
        queue_some(2)
        call_command("send_queued_mail", drain=True)
        self.assertEqual([m.subject for m in outbox.outbox], ["Mail 0", "Mail 1"])
        sent = set(QueuedMail.objects.values_list("status", "body", "claimed_by"))
        self.assertEqual(sent, {(queue.SENT, "", "")})

    def test_one_bad_mail_does_not_hold_up_the_others(self):
        queue_some(2)
        with patch.object(queue, "deliver", side_effect=[OSError("x"), None]):
            call_command("send_queued_mail", drain=True)
        states = list(
            QueuedMail.objects.order_by("pk").values_list("status", flat=True)
        )
        self.assertEqual(states, [queue.QUEUED, queue.SENT])

    def test_a_stop_gives_the_mail_back(self):
        queue_some()
        with patch.object(queue, "deliver", side_effect=Stop):
            call_command("send_queued_mail")
        mail = QueuedMail.objects.get()
        self.assertEqual(
            (mail.status, mail.attempts, mail.claimed_by), (queue.QUEUED, 0, "")
        )
