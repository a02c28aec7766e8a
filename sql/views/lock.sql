-- Keep refreshes away while the views are made anew. No parameters.
-- Usage: in a migration, before the first view; the lock that a refresh takes first, too.
LOCK TABLE views_contain IN EXCLUSIVE MODE;
