-- Records what is taken away, with what finds it again. Parameters: migration, ordinal, what, suspend, restore, fallback, the table as
-- statements name it, the constraint's name (null for a trigger).
insert into liteferry.suspended (migration_id, ordinal, what, suspend, restore, fallback, relation, relation_name, parent, parent_name,
                                 columns, parent_columns, head)
select $1, $2, $3, $4, $5, $6, relation, $7, nullif(confrelid, 0), nullif(confrelid, 0)::regclass::text, conkey, confkey,
       case contype when 'f' then liteferry.foreign_key_head(conrelid, conkey, confrelid, confkey) end
from (select to_regclass($7)::oid) as named (relation)
left join pg_constraint on conrelid = relation and conname = $8
