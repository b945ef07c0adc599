-- What liteferry remembers of a migration. Nothing else remembers progress.

create table liteferry.migration (
    id bigint generated always as identity primary key,
    source_path text not null,
    mode text not null check (mode in ('create', 'existing')),
    target_schema text not null,
    -- SHA-256 over the plan: a resumed copy goes on only under the plan it began with.
    fingerprint text not null,
    state text not null default 'loading' check (state in ('loading', 'finishing', 'complete')),
    version text not null,
    started timestamptz not null default now(),
    finished timestamptz,
    unique (target_schema)
);

create table liteferry.route (
    migration_id bigint not null references liteferry.migration on delete cascade,
    ordinal integer not null,
    source_table text not null,
    -- A migration tool's own bookkeeping: compared, never written.
    compared boolean not null,
    route jsonb not null,
    primary key (migration_id, ordinal),
    unique (migration_id, source_table)
);

create table liteferry.range (
    id bigint generated always as identity primary key,
    migration_id bigint not null references liteferry.migration on delete cascade,
    source_table text not null,
    ordinal integer not null,
    from_rowid bigint,
    to_rowid bigint,
    -- The scan key of the last row that the target holds.
    position bytea not null default '',
    rows bigint not null default 0,
    held bigint not null default 0,
    done boolean not null default false,
    unique (migration_id, source_table, ordinal)
);

-- Statements after the load, each recorded in the transaction that ran it.
create table liteferry.step (
    migration_id bigint not null references liteferry.migration on delete cascade,
    what text not null,
    -- 'done', 'fallback' or 'dropped'
    outcome text not null,
    detail text not null default '',
    at timestamptz not null default now(),
    primary key (migration_id, what)
);

-- Constraints and triggers of the target that were taken away, with the words that give them back.
create table liteferry.suspended (
    migration_id bigint not null references liteferry.migration on delete cascade,
    ordinal integer not null,
    what text not null,
    suspend text not null,
    restore text not null,
    fallback text,
    primary key (migration_id, ordinal)
);

-- Cells that the target does not give back byte for byte.
create table liteferry.ledger (
    id bigint generated always as identity primary key,
    migration_id bigint not null references liteferry.migration on delete cascade,
    source_table text not null,
    key text not null,
    column_name text not null,
    class text not null check (class in ('null', 'integer', 'real', 'text', 'blob')),
    -- Integers and reals big-endian, text and blobs as they are.
    raw bytea not null,
    reason text not null,
    -- What the target holds in its place: 'kept' (the value, not its spelling), 'null', 'row-held' (the whole row is here).
    standing text not null check (standing in ('kept', 'null', 'row-held')),
    recorded timestamptz not null default now()
);

create index ledger_by_table on liteferry.ledger (migration_id, source_table);

create table liteferry.renamed (
    migration_id bigint not null references liteferry.migration on delete cascade,
    kind text not null,
    table_name text not null,
    source_name text not null,
    target_name text not null
);

create table liteferry.verdict (
    id bigint generated always as identity primary key,
    migration_id bigint references liteferry.migration on delete cascade,
    at timestamptz not null default now(),
    success boolean not null,
    report jsonb not null
);

-- Append-only: what was done to the migration.
create table liteferry.journal (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    what text not null,
    detail text not null
);
