-- The server's timeline when the way back began: another one tells of a failover, which may have lost commits that SQLite holds. Nothing
-- where an earlier version began it, or the server does not tell.
alter table liteferry.reverse add column timeline text;

-- A service that keeps its log elsewhere refuses these functions.
create function liteferry.timeline() returns text language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
exception when others then
    return null;
end
$$;
