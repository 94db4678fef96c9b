from django.urls import path

from . import views

urlpatterns = [
    path("", views.hit),
    path("count", views.count),
]
