from django import forms
from django.contrib.auth.forms import PasswordResetForm, UserCreationForm
from django.contrib.auth.models import User
from django.template.loader import render_to_string

from mailqueue.queue import queue_mail


class SignUpForm(UserCreationForm):
    email = forms.EmailField(help_text="We send the activation link there.")

    class Meta(UserCreationForm.Meta):
        fields = ["username", "email"]

    def clean_email(self):
        email = User.objects.normalize_email(self.cleaned_data["email"])
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("This address has an account already.")
        return email

    def save(self, commit=True):
        self.instance.is_active = False  # until the mail is answered
        return super().save(commit)


class QueuedPasswordResetForm(PasswordResetForm):
    """Django's form, but the mail goes through the queue."""

    def send_mail(self, subject_template_name, email_template_name, context,
                  from_email, to_email, html_email_template_name=None):  # fmt: skip
        body = render_to_string(email_template_name, context)
        queue_mail(to_email, "Your new password for blango", body)
