"""What the platform asks of the app: is it well, and which release is it?"""

import os
import sys
from functools import cache

import django
from django.conf import settings
from django.db import Error, connection
from django.http import HttpResponse, JsonResponse
from django.views.static import serve


@cache
def facts():
    return {
        "release": os.environ.get("DOZEN_RELEASE", "local"),
        "commit": os.environ.get("DOZEN_COMMIT", "unknown"),
        "process": os.environ.get("DOZEN_PROCESS", "local"),
    }


def release(request):
    """Context processor: the facts, for the foot of each page."""
    return facts()


def release_headers(get_response):
    """Middleware: say with each answer which release and instance gave it."""

    def middleware(request):
        response = get_response(request)
        response["X-Blango-Release"] = facts()["release"]
        response["X-Blango-Commit"] = facts()["commit"]
        response["X-Blango-Instance"] = facts()["process"]
        return response

    return middleware


def version(request):
    response = JsonResponse(
        facts()
        | {
            "pid": os.getpid(),
            "prefix": sys.prefix,
            "python": sys.version.split()[0],
            "django": django.get_version(),
        }
    )
    response["Cache-Control"] = "no-store"
    return response


def healthz(request):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except Error:
        status, text = 503, "no database\n"
    else:
        status, text = 200, "ok\n"
    response = HttpResponse(text, status=status, content_type="text/plain")
    response["Cache-Control"] = "no-store"
    return response


def media(request, path):
    """An uploaded picture. All of them were drawn anew by Pillow when they
    came in (blog/pictures.py), and their random names are never used again."""
    response = serve(request, path, document_root=settings.MEDIA_ROOT)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
