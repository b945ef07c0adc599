-- Where the target stands in the source's history, and who may move it on.

create table liteferry.follow (
    migration_id bigint primary key references liteferry.migration on delete cascade,
    -- Stands in the source too, so that neither side is taken for another.
    token text not null unique,
    -- Written by the transaction that writes the rows, from the values it expects to find: compare and set.
    epoch bigint not null,
    seq bigint not null,
    nonce bigint not null,
    -- Drawn by each daemon as it takes over; whoever finds another here has lost the migration.
    owner text not null default '',
    owner_name text not null default '',
    owner_seen timestamptz not null default '-infinity',
    phase text not null,
    -- Digest of SQLite's schema, our triggers included, as it was when it was last understood.
    source_schema text not null default ''
);

-- Statements of the plan that a running migration has still to take, each at its stage.
create table liteferry.planned (
    migration_id bigint not null references liteferry.migration on delete cascade,
    ordinal integer not null,
    stage text not null check (stage in ('key', 'index', 'last', 'switch')),
    what text not null,
    sql text not null,
    fallback text,
    required boolean not null,
    primary key (migration_id, ordinal)
);

-- Numbers that the capture triggers know tables by.
create table liteferry.captured (
    migration_id bigint not null references liteferry.migration on delete cascade,
    id bigint not null,
    source_table text not null,
    -- Its rows may differ from the source's in ways that no captured change tells: compared before it counts as followed.
    suspect boolean not null default false,
    primary key (migration_id, id),
    unique (migration_id, source_table)
);

-- A changed row takes its old entries with it.
create index ledger_by_key on liteferry.ledger using hash (key);
