import re

from django.contrib.auth.models import User
from django.test import TestCase

from mailqueue.models import QueuedMail

PASSWORD = "correct horse 9"
FIELDS = {
    "username": "ada", "email": "ada@example.org",
    "password1": PASSWORD, "password2": PASSWORD,
}  # fmt: skip


class AccountsTest(TestCase):
    def sign_up(self, **fields):
        return self.client.post("/accounts/sign-up/", FIELDS | fields)

    def log_in(self, password=PASSWORD):
        data = {"username": "ada", "password": password}
        return self.client.post("/accounts/login/", data)

    def link_in_mail(self):
        mail = QueuedMail.objects.latest("pk")
        self.assertEqual(mail.to, "ada@example.org")
        return re.search(r"http://testserver(\S+)", mail.body)[1]

    def test_sign_up_activate_log_in_log_out(self):
        self.assertRedirects(self.sign_up(), "/accounts/sign-up/done/")
        self.assertContains(self.log_in(), "Please enter a correct username")

        link = self.link_in_mail()
        self.assertContains(self.client.get(link), "Welcome, ada")
        self.assertFalse(User.objects.get().is_active, "a GET must change nothing")
        self.assertRedirects(self.client.post(link), "/accounts/login/")
        self.assertRedirects(self.log_in(), "/")
        self.assertContains(self.client.get("/"), "Log out")
        self.assertRedirects(self.client.post("/accounts/logout/"), "/")

    def test_a_link_works_once(self):
        self.sign_up()
        link = self.link_in_mail()
        self.client.post(link)
        self.assertContains(self.client.get(link), "lapsed", status_code=404)
        self.assertEqual(self.client.post(link).status_code, 404)

    def test_a_wrong_link(self):
        self.sign_up()
        start, token, _ = self.link_in_mail().rsplit("/", 2)
        for link in (f"{start}/{token}x/", "/accounts/activate/x/y/"):
            self.assertEqual(self.client.post(link).status_code, 404)

    def test_an_address_has_one_account(self):
        self.sign_up()
        answer = self.sign_up(username="eve", email="ADA@example.org")
        self.assertContains(answer, "has an account already")
        self.assertEqual(QueuedMail.objects.count(), 1)

    def test_weak_passwords_are_refused(self):
        answer = self.sign_up(password1="12345678", password2="12345678")
        self.assertContains(answer, "entirely numeric")

    def test_password_reset(self):
        User.objects.create_user("ada", "ada@example.org", "old")
        address = {"email": "ada@example.org"}
        answer = self.client.post("/accounts/password/", address)
        self.assertRedirects(answer, "/accounts/password/sent/")
        page = self.client.get(self.link_in_mail(), follow=True)
        new = {"new_password1": PASSWORD, "new_password2": PASSWORD}
        answer = self.client.post(page.request["PATH_INFO"], new)
        self.assertRedirects(answer, "/accounts/password/done/")
        self.assertRedirects(self.log_in(), "/")

    def test_reset_for_a_stranger_says_the_same(self):
        answer = self.client.post("/accounts/password/", {"email": "no@example.org"})
        self.assertRedirects(answer, "/accounts/password/sent/")
        self.assertFalse(QueuedMail.objects.exists())
