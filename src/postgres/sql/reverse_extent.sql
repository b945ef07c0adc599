-- What a snapshot shows of migration $1's noted changes, the first $2 by their numbers (null: all) and those that share the last one's.
with bound as (
    select max(id) as last
    from (select id from liteferry.reverse_change where migration_id = $1 order by id limit $2) as first
), part as (
    select c.id, c.tbl from liteferry.reverse_change c, bound where c.migration_id = $1 and c.id <= bound.last
)
select (select count(*) from part) as changes,
       (select coalesce(last, 0) from bound) as last,
       array(select distinct tbl from part) as tables,
       exists (
           select from liteferry.reverse_change c
           where c.migration_id = $1 and c.id > (select last from bound)
       ) as more
