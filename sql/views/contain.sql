-- Is the current load of a bucket in the views? Parameters: bucket_date. Usage: is RefreshViews done?
SELECT EXISTS (
    SELECT FROM loads JOIN views_contain USING (bucket_date, load_id) WHERE bucket_date = %(bucket_date)s
);
