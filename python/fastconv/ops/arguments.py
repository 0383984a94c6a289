"""The old name of `fastconv._checks.arguments`."""

from fastconv._checks.arguments import *  # noqa: F403
