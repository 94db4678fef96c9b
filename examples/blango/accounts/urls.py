from django.contrib.auth import views as auth
from django.urls import path
from django.views.generic import TemplateView

from . import views
from .forms import QueuedPasswordResetForm


def page(name):
    return {"template_name": f"accounts/{name}.html"}


urlpatterns = [
    path("sign-up/", views.sign_up, name="sign-up"),
    path(
        "sign-up/done/",
        TemplateView.as_view(**page("sign_up_done")),
        name="sign-up-done",
    ),
    path("activate/<uid>/<token>/", views.activate, name="activate"),
    path(
        "login/",
        auth.LoginView.as_view(**page("login"), redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path(
        "password/",
        auth.PasswordResetView.as_view(
            **page("password_reset"),
            form_class=QueuedPasswordResetForm,
            email_template_name="accounts/password_mail.txt",
        ),
        name="password_reset",
    ),
    path(
        "password/sent/",
        auth.PasswordResetDoneView.as_view(**page("password_reset_done")),
        name="password_reset_done",
    ),
    path(
        "password/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(**page("password_new")),
        name="password_reset_confirm",
    ),
    path(
        "password/done/",
        auth.PasswordResetCompleteView.as_view(**page("password_new_done")),
        name="password_reset_complete",
    ),
]
