-- The cells of the rows of a table that the target refused. Sessions that load side by side number their entries in turns, so the
-- key comes first; rows without a name of their own come from one session.
select key, column_name, class, raw
from liteferry.ledger
where migration_id = $1 and source_table = $2 and split_part(reason, ':', 1) = 'refused'
  -- Only a table whose key is the rowid is cut into spans; its keys are written `[123]`.
  and ($3::bigint is null or substr(key, 2, length(key) - 2)::bigint >= $3)
  and ($4::bigint is null or substr(key, 2, length(key) - 2)::bigint <= $4)
order by key collate "C", id
