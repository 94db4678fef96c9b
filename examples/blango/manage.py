#!/usr/bin/env python
"""Django's command line. Production settings, unless told otherwise."""

import os
import sys


def main():
    testing = sys.argv[1:2] == ["test"]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "blango.settings")
    os.environ.setdefault("DJANGO_CONFIGURATION", "Test" if testing else "Prod")

    from configurations.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
