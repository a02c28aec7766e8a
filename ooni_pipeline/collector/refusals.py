"""What the collector refuses, and why. No text quotes what a client sent."""

from __future__ import annotations

from ooni_pipeline.errors import PipelineError


class ReportNotFoundError(PipelineError):
    """No report of that id is open here: never made, closed, or archived because it was stale (404)."""


class NoRoomError(PipelineError):
    """The disk is too full to take anything more (507)."""


class HeaderTextError(PipelineError):
    """The header document of a YAML client cannot be the header of a report (400, field content)."""


class CollectorBusyError(PipelineError):
    """Another collector works in this directory."""


class CollectorShutError(PipelineError):
    """This collector is going down and takes nothing more (503)."""


class DamagedError(PipelineError):
    """What lies on disk of an open report is not what was written: it goes into quarantine."""
