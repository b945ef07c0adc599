-- 31 Collations that only the application registers (Anki's unicase, Android's LOCALIZED, Plex's icu_root): the schema names them, and nobody
-- else can compare by them.
-- Expect: every row, a table without rowid in one piece; a key of such a table by bytes, of a table with rowid by that; the indexes, unique
-- constraints and foreign keys over it dropped with a report; the rest kept. `check` says which tables the way back could not write.
CREATE TABLE notetypes (id integer NOT NULL PRIMARY KEY, name text NOT NULL COLLATE nocase, config blob NOT NULL);
CREATE UNIQUE INDEX idx_notetypes_name ON notetypes (name);
CREATE INDEX idx_notetypes_usn ON notetypes (config);
CREATE TABLE fields (ntid integer NOT NULL, ord integer NOT NULL, name text NOT NULL COLLATE nocase, PRIMARY KEY (ntid, ord)) without rowid;
CREATE UNIQUE INDEX idx_fields_name_ntid ON fields (name, ntid);
CREATE TABLE tags (tag text NOT NULL PRIMARY KEY COLLATE nocase, usn integer NOT NULL) without rowid;
CREATE TABLE words (word text PRIMARY KEY COLLATE nocase, n integer);
CREATE TABLE uses (id integer PRIMARY KEY, word text REFERENCES words (word), seen text COLLATE nocase);
CREATE VIEW word_list AS SELECT word, n FROM words;
INSERT INTO notetypes VALUES (1, 'Basic', x'0a02'), (2, 'basic (typed)', x''), (3, 'Ärger', x'00');
INSERT INTO fields VALUES (1, 0, 'Front'), (1, 1, 'back'), (2, 0, 'front');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO tags SELECT char(65 + i % 26 + 32 * (i % 2)) || i, i FROM n;
INSERT INTO words VALUES ('b', 1), ('A', 2), ('c', 3), (NULL, 4);
INSERT INTO uses VALUES (1, 'b', 'x'), (2, NULL, 'X');
PRAGMA writable_schema = on;
UPDATE sqlite_schema SET sql = replace(sql, 'nocase', 'unicase');
PRAGMA writable_schema = off;
