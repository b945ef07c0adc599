-- When changes were applied, coarsely: how long they stay in the source's change table goes on counting, whatever ended an attempt or the
-- process in between.

create table liteferry.mark (
    migration_id bigint not null references liteferry.migration on delete cascade,
    epoch bigint not null,
    -- Everything up to this change.
    seq bigint not null,
    applied_at timestamptz not null default clock_timestamp(),
    primary key (migration_id, epoch, seq)
);
