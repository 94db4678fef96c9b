from unittest.mock import patch

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from blog import pictures
from blog.models import Post

from .base import BlogTestCase, picture

FIELDS = {"title": "On clouds", "summary": "Short.", "body": "Text."}


class WritingTest(BlogTestCase):
    def setUp(self):
        self.client.force_login(self.ada)

    def test_writing_needs_a_login(self):
        self.client.logout()
        answer = self.client.get("/write/")
        self.assertRedirects(answer, "/accounts/login/?next=/write/")

    def test_a_post_with_tags_and_a_picture(self):
        fields = FIELDS | {"tag_names": "Sky, sky,, Slow days", "picture": picture()}
        answer = self.client.post("/write/", fields)
        post = Post.objects.get()
        self.assertRedirects(answer, "/posts/on-clouds/")
        self.assertEqual([str(tag) for tag in post.tags.all()], ["sky", "slow days"])
        self.assertRegex(post.picture.name, r"^pictures/[0-9a-f]{32}\.jpg$")

        served = self.client.get(post.picture.url)
        self.assertEqual(served.status_code, 200)
        self.assertEqual(served["Content-Type"], "image/jpeg")
        self.assertEqual(served["X-Content-Type-Options"], "nosniff")

    def test_only_the_author_edits(self):
        post = self.post()
        edit = f"{post.get_absolute_url()}edit/"
        self.client.post(edit, FIELDS | {"tag_names": "sea"})
        post.refresh_from_db()
        self.assertEqual((post.title, post.slug), ("On clouds", "a-title"))
        self.client.force_login(User.objects.create_user("eve"))
        self.assertEqual(self.client.get(edit).status_code, 404)

    def test_too_many_tags(self):
        answer = self.client.post("/write/", FIELDS | {"tag_names": "a,b,c,d,e,f"})
        self.assertContains(answer, "No more than 5 tags")

    def test_a_file_that_is_no_picture_is_refused(self):
        fake = SimpleUploadedFile("x.png", b"<?php evil(); ?>", "image/png")
        answer = self.client.post("/write/", FIELDS | {"picture": fake})
        self.assertEqual(answer.status_code, 200)
        self.assertFalse(Post.objects.exists())

    def test_the_admin_checks_pictures_too(self):
        self.client.force_login(User.objects.create_superuser("root"))
        url = "/admin/blog/post/add/"
        answer = self.client.post(url, FIELDS | {"picture": picture("BMP")})
        self.assertContains(answer, "This is no JPEG, PNG or WebP picture.")


class PictureTest(BlogTestCase):
    def test_it_is_made_smaller_and_loses_its_metadata(self):
        exif = Image.Exif()
        exif[0x0110] = "A camera"
        stored = pictures.clean(picture("JPEG", (2000, 1000), exif=exif))
        with Image.open(stored) as image:
            self.assertEqual((image.format, image.size), ("JPEG", (1600, 800)))
            self.assertFalse(image.getexif())

    def test_limits(self):
        for limit in ("MAX_BYTES", "MAX_PIXELS"):
            with patch.object(pictures, limit, 10), self.assertRaises(ValidationError):
                pictures.clean(picture())

    def test_only_our_own_pictures_are_served(self):
        for path in ("../manage.py", "x.txt", "pictures/../../manage.py", "pictures/"):
            self.assertEqual(self.client.get(f"/media/{path}").status_code, 404)
