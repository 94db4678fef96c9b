"""Fill an empty blog with a few posts. Run again, it adds only what is missing."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from blog.art import scene
from blog.models import Comment, Post, Tag
from blog.pictures import as_jpeg
from blog.seed_data import COMMENTS, POSTS


class Command(BaseCommand):
    help = "Add an author, a reader, posts with drawn pictures, tags and comments."

    def handle(self, **options):
        self.author = self.user("mira")
        self.reader = self.user("tomas")
        new = sum(self.seed_post(index, *row) for index, row in enumerate(POSTS))
        self.stdout.write(f"{new} posts added, {len(POSTS) - new} were there")

    def user(self, name):
        """Someone who cannot log in, and is no admin."""
        defaults = {"email": f"{name}@example.org"}
        user, created = User.objects.get_or_create(username=name, defaults=defaults)
        if created:
            user.set_unusable_password()
            user.save()
        return user

    @transaction.atomic
    def seed_post(self, index, title, tags, picture, alt, summary, body):
        published = timezone.now() - timedelta(days=4 * index, hours=3 * index + 1)
        post, created = Post.objects.get_or_create(
            slug=slugify(title),
            defaults={
                "author": self.author, "title": title, "summary": summary,
                "body": body, "picture_alt": alt, "published": published,
            },
        )  # fmt: skip
        if created:
            for name in tags:
                tag, _ = Tag.objects.get_or_create(slug=name, defaults={"name": name})
                post.tags.add(tag)
            for number in range((index * 2 + 1) % 4):
                Comment.objects.create(
                    post=post,
                    author=self.reader,
                    body=COMMENTS[(index + number) % len(COMMENTS)],
                    created=published + timedelta(minutes=37 * (number + 1)),
                )
        if not post.picture or not post.picture.storage.exists(post.picture.name):
            post.picture.save("seed.jpg", as_jpeg(scene(*picture, seed=title)))
        return created
