import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "blango.settings")
os.environ.setdefault("DJANGO_CONFIGURATION", "Prod")

from configurations.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()
