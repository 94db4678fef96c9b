from django.contrib import admin

from .models import QueuedMail


@admin.register(QueuedMail)
class QueuedMailAdmin(admin.ModelAdmin):
    """To look at. The body is left out: it may hold a secret link."""

    list_display = ["subject", "to", "status", "attempts", "created", "sent_at"]
    list_filter = ["status"]
    exclude = ["body"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False
