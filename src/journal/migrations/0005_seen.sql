-- The newest change of the source that rows of the target may be of, which may lie beyond the position: a chunk of the backfill and a
-- part of a backlog hold rows as they are when they are read. A source that no longer knows it went back to an earlier state.

alter table liteferry.follow
    add column seen_seq bigint not null default 0,
    add column seen_nonce bigint not null default 0;

update liteferry.follow set seen_seq = seq, seen_nonce = nonce;

-- Nothing was loaded yet, or not for a source that is followed.
alter table liteferry.range
    add column seen_seq bigint,
    add column seen_nonce bigint;

-- A table that is gone before the backfill has ended takes its statements with it.
alter table liteferry.planned add column source_table text;
