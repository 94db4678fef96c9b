from uuid import uuid4

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

WORDS_A_MINUTE = 220


def picture_name(post, filename):
    """A name of our own: nothing of the uploader's gets into the path."""
    return f"pictures/{uuid4().hex}.jpg"


class Tag(models.Model):
    name = models.CharField(max_length=40)
    slug = models.SlugField(max_length=40, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("tag", args=[self.slug])


class PostQuerySet(models.QuerySet):
    def published(self):
        return self.filter(draft=False, published__lte=timezone.now())

    def for_list(self):
        posts = self.published().select_related("author").prefetch_related("tags")
        posts = posts.annotate(comment_count=models.Count("comments"))
        return posts.order_by("-published", "-pk")  # a count drops Meta.ordering


class Post(models.Model):
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="posts"
    )
    title = models.CharField(max_length=120)
    slug = models.SlugField(max_length=140, unique=True, blank=True)
    summary = models.CharField(max_length=240, help_text="A sentence or two.")
    body = models.TextField(
        help_text="Leave a blank line between paragraphs. "
        "## starts a heading, > a quote, and - the lines of a list."
    )
    picture = models.ImageField(upload_to=picture_name, blank=True)
    picture_alt = models.CharField(
        "picture in words", max_length=200, blank=True,
        help_text="For those who cannot see it.",
    )  # fmt: skip
    tags = models.ManyToManyField(Tag, blank=True, related_name="posts")
    draft = models.BooleanField(default=False)
    published = models.DateTimeField(default=timezone.now)
    changed = models.DateTimeField(auto_now=True)

    objects = PostQuerySet.as_manager()

    class Meta:
        ordering = ["-published", "-pk"]
        indexes = [models.Index(fields=["draft", "published"])]

    def __str__(self):
        return self.title

    def save(self, *args, **kwargs):
        if not self.slug:
            self.slug = self.free_slug()
        super().save(*args, **kwargs)

    def free_slug(self):
        slug = slugify(self.title) or "post"
        taken = Post.objects.filter(slug=slug).exists()
        return f"{slug}-{uuid4().hex[:6]}" if taken else slug

    def get_absolute_url(self):
        return reverse("post", args=[self.slug])

    @property
    def minutes(self):
        return max(1, round(len(self.body.split()) / WORDS_A_MINUTE))


class Comment(models.Model):
    post = models.ForeignKey(Post, models.CASCADE, related_name="comments")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="comments"
    )
    body = models.TextField(max_length=2000)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["created", "pk"]

    def __str__(self):
        return f"{self.author} on {self.post}"

    def get_absolute_url(self):
        return f"{self.post.get_absolute_url()}#comment-{self.pk}"
