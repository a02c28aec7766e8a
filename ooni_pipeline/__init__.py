"""The pure logic of the pipeline: no luigi, no luigi.cfg, no clock, no environment.

Rooms, in the order in which they may import each other (``tests/test_doors.py`` checks it):
``errors <- report <- bucket <- transfer``, ``report <- normalise, sanitise``,
``report, fingerprints <- database``. What a room needs from outside comes in as an argument.
"""
