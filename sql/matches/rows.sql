-- The measurements of a bucket that may show a fingerprint, as COPY in binary form gives them: id, test_name,
-- probe_cc, test_keys. Parameters: bucket_date, blockpage_tests, vendor_tests, countries (lists; upper case,
-- null: all). Usage: python -m tasks.refingerprint. COPY gives row by row, so nobody has to hold a bucket.
COPY (
    SELECT id::text, test_name, probe_cc, test_keys::text
    FROM metrics
    WHERE bucket_date = %(bucket_date)s
      AND test_keys IS NOT NULL
      AND (
          test_name = ANY (%(vendor_tests)s::text[])
          OR (
              test_name = ANY (%(blockpage_tests)s::text[])
              AND (
                  %(countries)s::text[] IS NULL OR upper(probe_cc COLLATE "C") = ANY (%(countries)s::text[])
              )
          )
      )
) TO STDOUT WITH (FORMAT binary);
