-- The way from one side to the other, and who commanded what.

alter table liteferry.follow
    -- A crossing that has begun and is not decided.
    add column crossing text check (crossing in ('switch', 'rollback')),
    add column paused boolean not null default false,
    -- Of a hundred reads, those that the application is told to ask of PostgreSQL.
    add column reads_percent smallint not null default 0 check (reads_percent between 0 and 100),
    -- Moves whenever the application is told to write elsewhere.
    add column routing_epoch bigint not null default 1,
    -- Whether what was taken away from the target's tables until the switch stands there again.
    add column restored boolean not null default false;

alter table liteferry.journal
    add column migration_id bigint references liteferry.migration on delete set null,
    add column actor text not null default '',
    add column reason text not null default '',
    add column before text not null default '',
    add column after text not null default '';

-- An operator may say that what stands in the target for a cell is right as it is.
alter table liteferry.ledger
    add column accepted timestamptz;
