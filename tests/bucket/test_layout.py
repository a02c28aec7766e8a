from __future__ import annotations

import datetime as dt
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage

DATE = dt.date(2016, 8, 1)
LAYOUT = Layout(private=Path("/p"), public=Path("/q"))


def test_every_path_of_the_contract() -> None:
    assert LAYOUT.bucket(Stage.RAW, DATE) == Path("/p/reports-raw/yaml/2016-08-01")
    assert LAYOUT.bucket(Stage.NORMALISED, DATE) == Path("/p/normalised/2016-08-01")
    assert LAYOUT.bucket(Stage.SANITISED, DATE) == Path("/p/sanitised/2016-08-01")
    assert LAYOUT.bucket(Stage.PUBLISHED, DATE) == Path("/q/2016-08-01")
    for stage in Stage:
        assert LAYOUT.manifest(stage, DATE) == Path(f"/p/manifests/{stage.value}/2016-08-01.json")
        assert LAYOUT.rejected(stage, DATE) == Path(f"/p/rejected/{stage.value}/2016-08-01")
    assert LAYOUT.held(DATE) == Path("/p/held/2016-08-01")
    assert LAYOUT.id_key() == Path("/p/keys/id.key")


def test_only_the_published_bucket_is_outside_the_private_tree() -> None:
    others = [LAYOUT.plan(DATE), LAYOUT.report_index(), LAYOUT.lock("x", DATE), LAYOUT.database()]
    assert all(path.is_relative_to("/p") for path in others)


def test_dates_are_read_from_names_and_nothing_else_is_a_date(layout: Layout) -> None:
    directory = layout.manifests(Stage.RAW)
    directory.mkdir(parents=True)
    names = ("2016-08-02.json", "2016-08-01.json", "2016-08-03.forgotten.json", "20160804.json")
    for name in (*names, ".0123456789abcdef.part", "2016-13-01.json", "x"):
        (directory / name).touch()
    assert layout.manifest_dates(Stage.RAW) == [DATE, dt.date(2016, 8, 2)]
    assert layout.forgotten_dates(Stage.RAW) == [dt.date(2016, 8, 3)]
    assert layout.manifest_dates(Stage.BACKUP) == []
