from unittest.mock import patch
from uuid import uuid4

from django.test import Client, TestCase, override_settings

from .models import Hit


@override_settings(HITS=True)
class HitsTest(TestCase):
    def test_a_hit_is_counted_without_a_csrf_token(self):
        uid = str(uuid4())
        client = Client(enforce_csrf_checks=True)
        for _ in range(2):
            answer = client.post("/hits/", {"uid": uid})
            self.assertEqual((answer.status_code, answer.text), (201, f"{uid}\n"))
        client.post("/hits/", {"uid": uuid4()})
        counted = client.get("/hits/count").json()
        self.assertEqual(counted, {"total": 3, "distinct": 2})

    def test_bad_fields(self):
        for fields in ({}, {"uid": "x"}, {"uid": uuid4(), "sleep": "9"},
                       {"uid": uuid4(), "sleep": "nan"}):  # fmt: skip
            self.assertEqual(self.client.post("/hits/", fields).status_code, 400)
        self.assertFalse(Hit.objects.exists())

    @patch("time.sleep")
    def test_sleep_only_where_it_is_allowed(self, sleep):
        fields = {"uid": uuid4(), "sleep": "2.5"}
        self.client.post("/hits/", fields)
        sleep.assert_not_called()
        with self.settings(HITS_SLEEP=True):
            self.client.post("/hits/", fields)
        sleep.assert_called_once_with(2.5)

    @override_settings(HITS=False)
    def test_off(self):
        answers = (
            self.client.post("/hits/", {"uid": uuid4()}),
            self.client.get("/hits/count"),
        )
        self.assertEqual([answer.status_code for answer in answers], [404, 404])
