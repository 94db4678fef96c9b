from io import StringIO

from django.contrib.auth.models import User
from django.core.management import call_command

from blog.models import Comment, Post, Tag

from .base import BlogTestCase


class SeedTest(BlogTestCase):
    def seed(self):
        out = StringIO()
        call_command("seed", stdout=out)
        return out.getvalue()

    def test_seed_twice(self):
        self.assertIn("9 posts added", self.seed())
        count = [model.objects.count() for model in (Post, Tag, Comment, User)]
        names = list(Post.objects.values_list("picture", flat=True))
        self.assertIn("0 posts added", self.seed())
        again = [model.objects.count() for model in (Post, Tag, Comment, User)]
        self.assertEqual(count, again)
        self.assertEqual(names, list(Post.objects.values_list("picture", flat=True)))
        self.assertContains(self.client.get("/"), "/media/pictures/", 7)

    def test_nobody_made_by_seed_can_log_in_or_is_an_admin(self):
        self.seed()
        for user in User.objects.exclude(pk=self.ada.pk):
            self.assertFalse(user.has_usable_password() or user.is_staff)
