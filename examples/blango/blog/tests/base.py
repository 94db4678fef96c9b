"""What the tests share: users, posts, pictures, and a place for the pictures."""

import tempfile
from io import BytesIO

from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from PIL import Image

from blog.models import Post


class BlogTestCase(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        override = override_settings(MEDIA_ROOT=folder.name)
        override.enable()
        cls.addClassCleanup(override.disable)

    @classmethod
    def setUpTestData(cls):
        cls.ada = User.objects.create_user("ada", "ada@example.org", "pass")

    def post(self, title="A title", **fields):
        fields = {"author": self.ada, "summary": "Short.", "body": "Text."} | fields
        return Post.objects.create(title=title, **fields)


def picture(kind="PNG", size=(60, 40), **save):
    out = BytesIO()
    Image.new("RGB", size, "teal").save(out, kind, **save)
    return SimpleUploadedFile("holiday.png", out.getvalue(), "image/png")
