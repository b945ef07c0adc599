-- What each table of the target was made of when it was last looked at. Nothing: it is taken as it is found.

alter table liteferry.captured add column made jsonb;
