-- What SQLite counts its schema's changes by, as it stood when the schema was last understood: what was changed and changed back has left
-- no other trace. Nothing where nobody has looked yet.
alter table liteferry.follow add column source_version bigint;
