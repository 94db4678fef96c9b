"""Logs go to stdout, an event a line. Where they end up is the platform's job."""

import json
import logging
import time


class LineFormatter(logging.Formatter):
    """time=… level=… logger=… msg="…", with a traceback inside its own line."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record):
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": json.dumps(record.getMessage(), ensure_ascii=False),
        }
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            fields["trace"] = json.dumps(trace, ensure_ascii=False)
        return " ".join(f"{key}={value}" for key, value in fields.items())


def config(level):
    # The loggers that come with handlers of their own give them up for root's.
    plain = {"handlers": [], "level": "NOTSET", "propagate": True}
    names = ["django", "django.server", "gunicorn.error"]
    quiet = {
        # The router in front has an access log.
        "gunicorn.access": plain | {"level": "WARNING"},
        # Django leaves it to the server to drop the body of an answer to HEAD.
        "gunicorn.http.wsgi": plain | {"level": "ERROR"},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "blango.logs.LineFormatter"}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "line",
            }
        },
        "root": {"handlers": ["stdout"], "level": level.upper()},
        "loggers": {name: plain for name in names} | quiet,
    }
