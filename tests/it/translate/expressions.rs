//! The expressions: forms of SQL with holes, filled with every column and with constants on the edges. Types and collations meet
//! in every pair; most pairs are refused, and that is right.

use liteferry::plan::expr::Scope;

/// A column of every family; the values sit where the two databases part: edges of integers, zeros, spaces, letters of both cases,
/// wildcards, line breaks, NULLs.
pub const GROUND: &str = "
    create table t (
        id integer primary key, i integer, w integer, k integer collate nocase, f real, n numeric, h,
        s text, a text collate nocase, r text collate rtrim, e integer, b boolean, p boolean, x blob,
        d datetime, m date, u uuid, j json, v varchar(10), z text, o integer
    );
    insert into t values
    (1, 0, 9223372036854775807, 5, 0.5, 1, 1, '', '', '', 'x', 0, 't', x'', '2024-02-29 13:14:15',
        '2024-02-29', '12345678-1234-5678-1234-567812345678', '{\"a\": 1}', '1', null, null),
    (2, 1, -9223372036854775808, 10, -1.5, 2.5, 2.5, 'abc', 'ABC', 'abc', 'one', 1, 'f', x'00', '2023-01-01 00:00:00',
        '2023-01-01', '22345678-1234-5678-1234-567812345678', '[]', '01', null, null),
    (3, -1, 5, -3, 3.0, -7, -7.0, 'ABC', 'abc', 'abc ', 'ABC', 1, 't', x'ff00', '2024-02-29 13:14:16',
        '2024-03-01', '32345678-1234-5678-1234-567812345678', '\"x\"', '10', null, null),
    (4, 42, 42, 0, 1e10, 42, 42, 'abc ', 'Abc', 'ABC ', 'abc', 0, 'f', x'616263', '2024-02-29 13:14:15',
        '2024-02-29', '42345678-1234-5678-1234-567812345678', '1', 'abc', null, null),
    (5, -42, 0, 7, -0.0, 0.1, 0.1, 'É%_', 'é%_', 'x\ty', 'É', null, null, x'61', null, null, null, null, 'ABC', null, null),
    (6, 100, 9007199254740993, 1, 0.1, 99.99, 100, 'a\nb\\c', 'a_b', ' abc', ' 10x', 1, 't', x'0061',
        '1999-12-31 23:59:59', '1999-12-31', '52345678-1234-5678-1234-567812345678', 'null', 'a%c', null, null),
    (7, 7, 9007199254740992, 2, 2.5, -0.5, 3, '10', '10', '10  ', 'ten', 0, 'f', x'62', '2030-06-15 06:07:08',
        '2030-06-15', '62345678-1234-5678-1234-567812345678', 'true', '[x]', null, null),
    (8, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
    (9, 2, -1, 3, 100.25, 3, 5, 'Straße 😀', 'STRASSE', 'a-z', 'ı', 1, 't', x'ffff', '0001-01-01 00:00:00',
        '9999-12-31', '00000000-0000-0000-0000-000000000000', '0', ']', null, null),
    (10, 3, 1, 4, 1e-7, 1e20, 9, '-5', '-5', '-', 'a', 0, 'f', x'7f', '9999-12-31 23:59:59',
        '0001-01-01', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{}', '^', null, null);
";

const CONSTANTS: [&str; 30] = [
    "0",
    "1",
    "-1",
    "42",
    "2.5",
    "0.1",
    "-0.0",
    "1e10",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1e300",
    "0.5",
    "''",
    "'abc'",
    "'ABC'",
    "'abc '",
    "'10'",
    "'010'",
    "'1e1'",
    "' 42 '",
    "'É%_'",
    "x'61'",
    "x''",
    "null",
    "true",
    "\"dq\"",
    "'2024-02-29'",
];

const OPERATORS: [&str; 22] = [
    "=", "<>", "<", "<=", ">", ">=", "is", "is not", "and", "or", "+", "-", "*", "/", "%", "&", "|", "<<",
    ">>", "||", "==", "!=",
];

/// `{}` is a column.
const OF_ONE: [&str; 106] = [
    "{}",
    "not {}",
    "- {}",
    "+ {}",
    "~ {}",
    "{} is null",
    "{} notnull",
    "{} is true",
    "{} is not false",
    "{} is not true",
    "typeof({}) = 'integer'",
    "typeof({}) in ('text', 'null')",
    "typeof({}) <> 'real'",
    "typeof({}) not in ('blob')",
    "{} in (0, 1)",
    "{} in (1, null)",
    "{} not in ('abc', 'x')",
    "{} in ('10', 42, 'É%_')",
    "{} in (2.5, '0.1', 3)",
    "{} in (x'61', x'')",
    "{} not in (null)",
    "{} between 0 and 42",
    "{} not between 'a' and 'b'",
    "{} between '1' and '9'",
    "{} between -0.5 and 2.5",
    "{} collate nocase = 'ABC'",
    "{} = 'abc' collate nocase",
    "{} collate rtrim = 'abc   '",
    "{} collate binary < 'abc'",
    "{} collate nocase < 'B'",
    "{} like 'a%'",
    "{} like 'ABC'",
    "{} like 'a_c%'",
    "{} like '%\\%' escape '\\'",
    "{} like '%!%!_' escape '!'",
    "{} not like '1%'",
    "{} like ''",
    "{} like '%\n%'",
    "{} like 'é%'",
    "{} like '%\\\\%'",
    "{} like '_'",
    "{} like '__'",
    "{} glob 'a*'",
    "{} glob '[A-Z]*'",
    "{} glob '*[^a-z]*'",
    "{} glob '?'",
    "{} glob '??*'",
    "{} glob '[]]'",
    "{} glob '[^]]*'",
    "{} glob '*[[]*'",
    "{} glob '[x-z-]*'",
    "{} glob '[a-c-e]*'",
    "{} glob '*\\*'",
    "{} glob '[\\]*'",
    "{} glob '*.*'",
    "{} glob '[%_^]*'",
    "{} glob '[^^]*'",
    "{} glob '*[-]*'",
    "{} glob '*é*'",
    "{} glob '[À-ÿ]*'",
    "{} glob '*$'",
    "{} glob ''",
    "not ({} glob '[0-9]*')",
    "lower({})",
    "upper({})",
    "length({})",
    "abs({})",
    "trim({})",
    "ltrim({}, 'ab ')",
    "rtrim({}, '')",
    "trim({}, 'c')",
    "replace({}, 'b', 'xx')",
    "replace({}, '', 'xx')",
    "replace({}, 'b', '')",
    "instr({}, 'b')",
    "instr({}, '')",
    "substr({}, 2)",
    "substr({}, 1, 2)",
    "substr({}, 100)",
    "substr({}, 1, 0)",
    "substring({}, 3, 5)",
    "substr({}, 0)",
    "coalesce({}, 0)",
    "coalesce({}, 'none')",
    "ifnull({}, 1.5)",
    "nullif({}, 0)",
    "nullif({}, '')",
    "nullif({}, 'ABC')",
    "iif({}, 1, 0)",
    "iif({} > 1, 'big', 'small')",
    "likely({}) = '10'",
    "unlikely({}) = 'ABC'",
    "likely({})",
    "case {} when 0 then 'zero' when 42 then 'answer' end",
    "case when {} then 1 else 0 end",
    "case {} when 'abc' then 1 when 'ABC' then 2 else 3 end",
    "cast({} as text)",
    "cast({} as integer)",
    "cast({} as real)",
    "cast({} as numeric) = '42'",
    "cast({} as text) = 42",
    "cast({} as varchar(2))",
    "cast({} as blob)",
    "{} >= 0 and {} < 100",
    "{} is null or {} > 0",
    "not ({} = 1 or {} is null)",
];

/// `{}` is the first column and `[]` the second.
const OF_TWO: [&str; 22] = [
    "coalesce({}, [])",
    "ifnull([], {})",
    "nullif({}, [])",
    "iif({} is null, [], {})",
    "replace({}, [], 'q')",
    "replace({}, 'a', [])",
    "replace({}, '', [])",
    "instr({}, [])",
    "trim({}, [])",
    "{} between [] and 42",
    "{} in ([])",
    "case {} when [] then 'same' else 'other' end",
    "case when {} > 0 then [] else {} end",
    "{} like []",
    "{} collate nocase = []",
    "{} = [] collate rtrim",
    "{} || '-' || []",
    "{} is not []",
    "+{} = []",
    "cast({} as text) = []",
    "likely({}) = []",
    "({} = []) = 1",
];

pub fn all(scope: &Scope) -> Vec<String> {
    let columns: Vec<&str> = scope.columns.iter().map(|column| column.name.as_str()).collect();
    let mut all = Vec::new();
    for column in &columns {
        all.extend(OF_ONE.iter().map(|form| form.replace("{}", column)));
        for operator in OPERATORS {
            let beside = CONSTANTS.iter().chain(&columns);
            all.extend(beside.flat_map(|other| {
                [format!("{column} {operator} {other}"), format!("({other}) {operator} {column}")]
            }));
        }
        for other in &columns {
            all.extend(OF_TWO.iter().map(|form| form.replace("{}", column).replace("[]", other)));
        }
    }
    all.dedup();
    all
}
