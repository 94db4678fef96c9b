"""Read by gunicorn at start. What may differ by process is in the Procfile."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blango import logs  # noqa: E402

# One stream and one format for gunicorn and Django.
logconfig_dict = logs.config(os.environ.get("LOG_LEVEL", "INFO"))
control_socket_disable = True
