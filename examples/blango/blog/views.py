from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from .forms import CommentForm, PostForm
from .models import Post, Tag

PAGE_SIZE = 7  # one large, and two rows of three


@require_GET
def post_list(request):
    return show_list(request, Post.objects.for_list())


@require_GET
def tag(request, slug):
    tag = get_object_or_404(Tag, slug=slug)
    # An id subquery: a join on tags would upset the count of the comments.
    posts = Post.objects.for_list().filter(pk__in=tag.posts.values("pk"))
    return show_list(request, posts, tag=tag)


def show_list(request, posts, **context):
    page = Paginator(posts, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "blog/list.html", {"page": page, **context})


def visible_post(request, slug):
    """A published post, or a draft of one's own."""
    posts = Post.objects.select_related("author")
    visible = Q(pk__in=Post.objects.published())
    if request.user.is_authenticated:
        visible |= Q(author=request.user)
    return get_object_or_404(posts.filter(visible), slug=slug)


@require_http_methods(["GET", "POST"])
def post(request, slug):
    post = visible_post(request, slug)
    form = CommentForm(request.POST or None)
    if request.method == "POST":
        if not request.user.is_authenticated:
            return redirect_to_login(request.path)
        form.instance.post, form.instance.author = post, request.user
        if form.is_valid():
            return redirect(form.save())
    comments = post.comments.select_related("author")
    context = {"post": post, "comments": comments, "form": form}
    return render(request, "blog/post.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def write(request):
    return edit_post(request, Post(author=request.user))


@login_required
@require_http_methods(["GET", "POST"])
def edit(request, slug):
    return edit_post(request, get_object_or_404(Post, slug=slug, author=request.user))


def edit_post(request, post):
    form = PostForm(request.POST or None, request.FILES or None, instance=post)
    if form.is_valid():
        with transaction.atomic():
            post = form.save()
        messages.success(request, "Saved as a draft." if post.draft else "Published.")
        return redirect(post)
    return render(request, "blog/edit.html", {"form": form, "post": post})
