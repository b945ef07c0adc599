-- The way back: which rows the application has changed here, for SQLite to be told.

-- One row a changed key. Numbers are drawn before their transactions commit: only what a snapshot shows may be taken for seen.
create table liteferry.reverse_change (
    id bigint generated always as identity primary key,
    migration_id bigint not null,
    -- The number that the table's triggers know it by; 0 is the canary.
    tbl bigint not null,
    -- record_send of the key's columns; null where the whole table was emptied.
    key bytea,
    at timestamptz not null default clock_timestamp()
);

-- Where SQLite stands in the history of these changes, as far as it is known here.
create table liteferry.reverse (
    migration_id bigint primary key references liteferry.migration on delete cascade,
    epoch bigint not null,
    -- How many batches SQLite has taken.
    mark bigint not null,
    -- Drawn for each batch: two histories that share a mark do not share this.
    nonce bigint not null
);

-- A word that is written here and must come out in SQLite: the proof that the way back is open.
create table liteferry.canary (
    migration_id bigint primary key references liteferry.migration on delete cascade,
    word text not null
);

create function liteferry.capture_canary() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into liteferry.reverse_change (migration_id, tbl, key)
    values (new.migration_id, 0, record_send(row(1::bigint)));
    return null;
end
$$;

create trigger liteferry_capture after insert or update on liteferry.canary
    for each row execute function liteferry.capture_canary();

alter table liteferry.canary enable always trigger liteferry_capture;
