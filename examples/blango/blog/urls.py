from django.urls import path

from . import views

urlpatterns = [
    path("", views.post_list, name="post-list"),
    path("tags/<slug:slug>/", views.tag, name="tag"),
    path("posts/<slug:slug>/", views.post, name="post"),
    path("posts/<slug:slug>/edit/", views.edit, name="edit"),
    path("write/", views.write, name="write"),
]
