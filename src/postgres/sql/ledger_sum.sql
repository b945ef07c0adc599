-- The sum of the digests of a table's ledger entries, those for rows that the target itself refused apart.
select count(*),
       coalesce(sum(hashtextextended(line, 0)), 0)::text,
       coalesce(sum(hashtextextended(line, 1)), 0)::text
from (
    select (key || E'\x1f' || column_name || E'\x1f' || class || E'\x1f' || standing || E'\x1f' || encode(raw, 'hex'))
               collate "C" as line
    from liteferry.ledger
    where migration_id = $1 and source_table = $2 and split_part(reason, ':', 1) <> 'refused'
      -- Only a table whose key is the rowid is cut into spans; its keys are written `[123]`.
      and ($3::bigint is null or substr(key, 2, length(key) - 2)::bigint >= $3)
      and ($4::bigint is null or substr(key, 2, length(key) - 2)::bigint <= $4)
) as entry
