-- A number from a sequence would be what the application's session gets from lastval() after its own insert, and takes for its new row's
-- key. The clock numbers changes as well: nothing asks more of a number than that older ones are mostly smaller, and two may be the same.

-- Whoever writes meanwhile is waited for no longer than this, or all other writers would wait behind.
set local lock_timeout = '1s';

alter table liteferry.reverse_change
    drop constraint reverse_change_pkey,
    alter column id drop identity,
    alter column id set default (date_part('epoch', clock_timestamp()) * 1000000)::bigint;

create index reverse_change_by_number on liteferry.reverse_change (migration_id, id);

-- Where everything is published, PostgreSQL deletes from no table without a replica identity.
alter table liteferry.reverse_change replica identity full;
alter table liteferry.renamed replica identity full;
