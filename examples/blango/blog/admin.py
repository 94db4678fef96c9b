from django.contrib import admin

from .forms import PictureForm
from .models import Comment, Post, Tag


@admin.register(Post)
class PostAdmin(admin.ModelAdmin):
    form = PictureForm
    list_display = ["title", "author", "published", "draft"]
    list_filter = ["draft", "tags"]
    search_fields = ["title", "summary", "body"]
    date_hierarchy = "published"
    prepopulated_fields = {"slug": ["title"]}
    autocomplete_fields = ["tags"]


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin):
    prepopulated_fields = {"slug": ["name"]}
    search_fields = ["name"]


@admin.register(Comment)
class CommentAdmin(admin.ModelAdmin):
    list_display = ["post", "author", "created"]
    list_select_related = ["post", "author"]
    search_fields = ["body"]
