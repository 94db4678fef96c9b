from django.contrib import admin
from django.urls import include, path, re_path

from . import ops

urlpatterns = [
    path("", include("blog.urls")),
    path("accounts/", include("accounts.urls")),
    path("hits/", include("hits.urls")),
    path("admin/", admin.site.urls),
    path("healthz", ops.healthz),
    path("version", ops.version),
    re_path(r"^media/(?P<path>pictures/[0-9a-f]{32}\.jpg)$", ops.media),
]
