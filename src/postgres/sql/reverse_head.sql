-- What a snapshot shows of migration $1's noted changes, the first $2 by their numbers (null: all) and those that share the last one's, and
-- where SQLite is known to stand. The row is locked against whoever else might forget.
with bound as (
    select max(id) as last
    from (select id from liteferry.reverse_change where migration_id = $1 order by id limit $2) as first
), part as (
    select c.id, c.tbl from liteferry.reverse_change c, bound where c.migration_id = $1 and c.id <= bound.last
)
select r.epoch,
       r.mark,
       r.nonce,
       ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint as drawn,
       (select count(*) from part) as changes,
       (select coalesce(last, 0) from bound) as last,
       array(select distinct tbl from part) as tables,
       exists (
           select from liteferry.reverse_change c
           where c.migration_id = $1 and c.id > (select last from bound)
       ) as more
from liteferry.reverse r
where r.migration_id = $1
for update of r
