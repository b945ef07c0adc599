-- Indexes, unique constraints and CHECKs of followed tables, as the source declared them when they were last carried over, and by what name
-- liteferry made each in the target, if it did.
create table liteferry.rule (
    migration_id bigint not null references liteferry.migration on delete cascade,
    source_table text not null,
    ordinal integer not null,
    declared text not null,
    made_as text,
    primary key (migration_id, source_table, ordinal)
);
