"""An endpoint for proving that no request is lost.

A load test posts many requests, each with its own uid, while the app is
released anew, scaled or restarted. Afterwards /hits/count has to say as many
distinct uids as there were answers 201. It exists only where HITS=1 is set.
"""

import time
from functools import wraps
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from .models import Hit

LONGEST_SLEEP = 5


def only_with_hits(view):
    @wraps(view)
    def wrapped(request):
        if not settings.HITS:
            raise Http404
        return view(request)

    return wrapped


def text(status, line):
    return HttpResponse(f"{line}\n", status=status, content_type="text/plain")


@csrf_exempt  # changes nothing but its own table, and is for scripts
@only_with_hits
@require_POST
def hit(request):
    try:
        uid = str(UUID(request.POST.get("uid", "")))
        sleep = float(request.POST.get("sleep") or 0)
    except ValueError:
        return text(400, "uid must be a UUID, and sleep a number")
    if not 0 <= sleep <= LONGEST_SLEEP:
        return text(400, f"sleep must be from 0 to {LONGEST_SLEEP}")
    if settings.HITS_SLEEP:
        time.sleep(sleep)  # before the transaction: it must not hold a lock
    with transaction.atomic():
        Hit.objects.create(uid=uid)
    return text(201, uid)


@only_with_hits
@require_GET
def count(request):
    totals = Hit.objects.aggregate(
        total=Count("pk"), distinct=Count("uid", distinct=True)
    )
    return JsonResponse(totals)
