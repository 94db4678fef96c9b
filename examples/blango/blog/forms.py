from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify

from . import pictures
from .models import Comment, Post, Tag

MAX_TAGS = 5


class PictureForm(forms.ModelForm):
    """Checks the picture. For the pages and the admin alike."""

    def clean_picture(self):
        picture = self.cleaned_data["picture"]
        new = isinstance(picture, UploadedFile)
        return pictures.clean(picture) if new else picture


class PostForm(PictureForm):
    tag_names = forms.CharField(
        label="Tags", required=False, max_length=200,
        help_text=f"Up to {MAX_TAGS}, with commas between them.",
    )  # fmt: skip

    field_order = [
        "title", "summary", "body", "picture", "picture_alt", "tag_names", "draft"
    ]  # fmt: skip

    class Meta:
        model = Post
        fields = ["title", "summary", "body", "picture", "picture_alt", "draft"]
        widgets = {
            "summary": forms.Textarea(attrs={"rows": 2}),
            "body": forms.Textarea(attrs={"rows": 14}),
            "picture": forms.ClearableFileInput(
                attrs={"accept": "image/jpeg,image/png,image/webp"}
            ),
        }

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            tags = self.instance.tags.all()
            self.initial["tag_names"] = ", ".join(tag.name for tag in tags)

    def clean_tag_names(self):
        names = self.cleaned_data["tag_names"].lower().split(",")
        by_slug = {slugify(name): name.strip() for name in names if slugify(name)}
        if len(by_slug) > MAX_TAGS:
            raise forms.ValidationError(f"No more than {MAX_TAGS} tags, please.")
        if any(len(text) > 40 for pair in by_slug.items() for text in pair):
            raise forms.ValidationError("A tag has at most 40 letters.")
        return by_slug

    def save(self, commit=True):
        post = super().save(commit)
        post.tags.set(
            Tag.objects.get_or_create(slug=slug, defaults={"name": name})[0]
            for slug, name in self.cleaned_data["tag_names"].items()
        )
        return post


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ["body"]
        labels = {"body": "Your comment"}
        widgets = {"body": forms.Textarea(attrs={"rows": 4})}
