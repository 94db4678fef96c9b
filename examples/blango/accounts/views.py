from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from mailqueue.queue import queue_mail

from .forms import SignUpForm
from .tokens import activation_token


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def sign_up(request):
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        with transaction.atomic():
            user = form.save()
            send_activation(request, user)
        return redirect("sign-up-done")
    return render(request, "accounts/sign_up.html", {"form": form})


def send_activation(request, user):
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    link = reverse("activate", args=[uid, activation_token.make_token(user)])
    context = {"user": user, "link": request.build_absolute_uri(link)}
    body = render_to_string("accounts/activation_mail.txt", context)
    queue_mail(user.email, "Activate your account at blango", body)


@require_http_methods(["GET", "POST"])
def activate(request, uid, token):
    """GET only asks: mail programs follow links without being told to."""
    user = user_of(uid)
    if not user or not activation_token.check_token(user, token):
        return render(request, "accounts/activate_invalid.html", status=404)
    if request.method == "POST":
        user.is_active = True
        user.save(update_fields=["is_active"])
        messages.success(request, "Your account is active. Welcome! Please log in.")
        return redirect("login")
    return render(request, "accounts/activate.html", {"name": user.username})


def user_of(uid):
    try:
        return User.objects.get(pk=int(urlsafe_base64_decode(uid)), is_active=False)
    except (ValueError, OverflowError, User.DoesNotExist):
        return None
