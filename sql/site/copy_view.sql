-- A view as CSV, in an order that depends on nothing but its rows. Parameters: columns, definition, sorting
-- (pieces of SQL, not values). Usage: after published.sql; COPY gives row by row, so nobody holds a view.
COPY (SELECT {columns} FROM ({definition}) AS shown ORDER BY {sorting}) TO STDOUT WITH (FORMAT csv, HEADER true);
