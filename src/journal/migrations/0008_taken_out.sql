-- What a cleanup takes out of SQLite, written down before it does: taken up again, it finds nothing there any more to tell of.

alter table liteferry.follow add column taken_out text[] not null default '{}';
