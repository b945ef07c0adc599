-- What the settings said when the migration began, as far as it decided what no later start can change. Nothing where an earlier version
-- began it.
alter table liteferry.follow add column settings jsonb;
