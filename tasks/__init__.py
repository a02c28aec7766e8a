"""The graph. Each task is one bucket (``bucket_date``) in one stage, complete when its proof is there.

    RenameReports         on each collector: archive -> renamed     renames/DATE.json there
    FetchReports          collectors -> raw bucket                  manifest raw
      BackupReports       raw bucket -> backup                      manifest backup
      NormaliseReports    raw -> normalised                         manifest normalised
        SanitiseReports   normalised -> sanitised                   manifest sanitised
          PublishReports  sanitised -> mirror                       manifest published
          LoadMeasurements  sanitised -> metrics, matches           marker row in loads
            RefreshViews  (needs the backup too) -> four views      row in views_contain
              PublishSite (needs the mirror too) -> its pages       manifests/site.json
      RemoveFetchedReports  (needs the backup) -> collectors        manifest removed
      EveryCollectorReached  (nothing is made)                    fails where the bucket goes without one
    Nightly               PublishSite + RemoveFetchedReports + EveryCollectorReached

Commands (each has --help):

    luigi --module tasks.nightly Nightly --bucket-date 2016-08-01
    luigi --module tasks.refresh RangeDaily --of RefreshViews --start 2016-08-01 --stop 2016-08-08
    python -m tasks.migrate                     bring the database to the schema of this code
    python -m tasks.adopt FIRST LAST            prove buckets whose raw files already lie here
    python -m tasks.forget STAGE FIRST LAST     a stage and those below are to be done again
    python -m tasks.preview FIRST LAST          what doing them again would change
    python -m tasks.held list [FIRST [LAST]]    reports that wait for a person; show, release, drop
    python -m tasks.withdraw --file BUCKET/REPORT  a report goes from everywhere; --id, --address, --due
    python -m tasks.resanitise FIRST LAST       what was published of bridges that were listed later
    python -m tasks.fingerprints check          the fingerprint table; unmatched, show NAME
    python -m tasks.refingerprint FIRST LAST    match what is loaded with today's fingerprint table
    python -m tasks.check                       is anything late, little, full or stuck?
    python -m tasks.ledger FIRST [LAST]         what became of everything that was received
    luigi --module tasks.restore RestoreReports --bucket-date 2016-08-01
    luigi --module tasks.rename RenameReports --bucket-date 2016-08-01
    python -m tasks.cleanup [FIRST LAST]        free raw files that the backup holds; --verify: look at it
    python -m tasks.mirror                      on the mirror machine: pull what was published
    python -m tasks.collector --config FILE     ooni-collector: on a collector, take reports from probes
    python -m tasks.database ACTION             the embedded PostgreSQL: start, stop, status, url, psql
"""
