//! The settings: what the operator decides, checked and typed; where each value came from; all problems at once.
//!
//! `config/default.toml` is the reference and the default. It connects to nothing, and it never shows a password.

mod layers;
mod named;
mod read;
mod switch;

use crate::canon::form::Unit;
use crate::canon::{Reason, Zone};
use crate::plan::Mode;
use crate::plan::overrides::{
    ColumnOverride, ExistingRows, IntWidth, JsonChoice, Letters, NumericChoice, Overrides, SequenceStart,
};
use named::{columns, sequences};
use read::{
    Reader, choice, duration, file_path, flag, host_names, list, listener, number, optional, reasons,
    spelled, text_not_empty,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use layers::{ENVIRONMENT_PREFIX, ORIGIN_COMMAND_LINE, ORIGIN_ENVIRONMENT};
pub use switch::{BrokenKeys, Cleanup, Hook, Hooks, Switch};

#[derive(Clone, Debug)]
pub struct Settings {
    pub source: Source,
    pub target: Target,
    pub tables: Tables,
    pub types: Types,
    pub misfits: Misfits,
    pub backfill: Backfill,
    pub follow: Follow,
    pub validate: Validate,
    pub switch: Switch,
    pub hooks: Hooks,
    pub cleanup: Cleanup,
    /// By sequence name.
    pub sequences: BTreeMap<String, SequenceStart>,
    pub http: Http,
    pub log: Log,
    pub state: State,
    effective: Vec<Effective>,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub path: Option<PathBuf>,
    pub busy_timeout_ms: u32,
    pub journal: Journal,
    pub log_retention: Duration,
    pub log_limit: u64,
}

/// Which journal modes a followed source may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    RequireWal,
    Any,
}

#[derive(Clone)]
pub struct Target {
    pub url: Option<String>,
    pub password_file: Option<PathBuf>,
    pub schema: String,
    pub mode: Mode,
    /// `None`: the URL decides.
    pub tls: Option<Tls>,
    pub ca_file: Option<PathBuf>,
    pub unguarded_password: UnguardedPassword,
    pub existing_rows: ExistingRows,
    pub names: Letters,
}

/// What is done about a server that asks over TCP without TLS for what gives the password away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnguardedPassword {
    #[default]
    Refuse,
    Allow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Disable,
    VerifyCa,
    /// `require` means this too.
    VerifyFull,
}

#[derive(Clone, Debug)]
pub struct Tables {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub no_foreign_key: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Types {
    pub json: JsonChoice,
    pub numeric: NumericChoice,
    pub int_width: IntWidth,
    pub source_tz: Zone,
    pub unit: Option<Unit>,
    /// By `table.column`, names as in SQLite.
    pub column: BTreeMap<String, ColumnOverride>,
}

#[derive(Clone, Debug)]
pub struct Misfits {
    pub policy: MisfitPolicy,
    /// Of what is in the ledger for one of these, the target's value is taken for right.
    pub accept: Vec<Reason>,
    /// A larger table is never rewritten for the sake of a wider column.
    pub widen_rows_max: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MisfitPolicy {
    /// The cell is kept in the ledger and the copy goes on.
    #[default]
    Ledger,
    /// The same, until `run` has given the column a type that holds it.
    Widen,
    /// The first misfit ends the copy.
    Halt,
}

#[derive(Clone, Debug)]
pub struct Backfill {
    pub workers: u8,
    pub chunk_bytes: u32,
    pub max_read_ms: u32,
}

#[derive(Clone, Debug)]
pub struct Follow {
    pub poll_ms: u32,
    pub max_batch: u64,
}

#[derive(Clone, Debug)]
pub struct Validate {
    /// Differing rows named for each table; all are counted.
    pub rows_listed_max: u32,
    pub on: bool,
    pub every: Duration,
    pub pair_max_ms: u32,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub listen: SocketAddr,
    /// Holds the token that orders must bear, and readers too where `listen` is beyond loopback.
    pub token_file: PathBuf,
    /// Names in lower case, with or without a port.
    pub allowed_hosts: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Debug)]
pub struct State {
    pub dir: PathBuf,
}

/// A value that holds, and where it came from: `default`, a file, an environment variable or the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub key: String,
    pub value: String,
    pub origin: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    pub text: String,
    pub origin: String,
}

impl Settings {
    /// `env` is the process's environment; `sets` are the pairs of `--set`, and flags under the keys they stand for.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        sets: &[(String, String)],
    ) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let merged = layers::merged(file, env, sets, &mut problems);
        let mut from = Reader::new(merged, problems);
        let mut settings = Settings {
            source: Source::read(&mut from),
            target: Target::read(&mut from),
            tables: Tables {
                include: from.take("tables.include", list),
                exclude: from.take("tables.exclude", list),
                no_foreign_key: from.take("tables.no_foreign_key", list),
            },
            types: Types::read(&mut from),
            misfits: Misfits {
                policy: from.take("misfits.policy", choice(&MISFIT_POLICIES)),
                accept: from.take("misfits.accept", reasons),
                widen_rows_max: from.take("misfits.widen_rows_max", number(1..=10_000_000)),
            },
            backfill: Backfill::read(&mut from),
            follow: Follow::read(&mut from),
            validate: Validate {
                rows_listed_max: from.take("validate.rows_listed_max", number(0..=100_000)),
                on: from.take("validate.on", flag),
                every: from.take("validate.every", duration),
                pair_max_ms: from.take("validate.pair_max_ms", number(100..=60_000)),
            },
            switch: Switch::read(&mut from),
            hooks: Hooks::read(&mut from),
            cleanup: Cleanup::read(&mut from),
            sequences: sequences(&mut from),
            http: Http::read(&mut from),
            log: Log {
                format: from.take("log.format", choice(&LOG_FORMATS)),
                level: from.take("log.level", choice(&LOG_LEVELS)),
            },
            state: State { dir: from.take("state.dir", file_path) },
            effective: Vec::new(),
        };
        from.refuse_the_rest();
        if settings.misfits.policy == MisfitPolicy::Widen && settings.target.mode == Mode::Existing {
            let text = "is \"widen\", and target.mode \"existing\": the target's columns are law there, and none is made wider";
            from.problem("misfits.policy", text, "target.mode");
        }
        if !settings.tables.no_foreign_key.is_empty() && settings.target.mode == Mode::Existing {
            let text =
                "is for target.mode \"create\": with \"existing\" the target's own foreign keys are law";
            from.problem("tables.no_foreign_key", text, "target.mode");
        }
        if !from.problems.is_empty() {
            return Err(from.problems);
        }
        if settings.http.token_file.as_os_str().is_empty() {
            settings.http.token_file = settings.state.dir.join(TOKEN_FILE);
        }
        Ok(Settings { effective: from.used.into_iter().map(without_secret).collect(), ..settings })
    }

    /// Every key with its value and origin, for people; passwords are hidden.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What the plan needs of the settings.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            followed: BTreeSet::new(),
            include: self.tables.include.clone(),
            exclude: self.tables.exclude.clone(),
            no_foreign_key: self.tables.no_foreign_key.clone(),
            letters: self.target.names,
            json: self.types.json,
            numeric: self.types.numeric,
            int_width: self.types.int_width,
            source_tz: self.types.source_tz,
            unit: self.types.unit,
            columns: self.types.column.clone(),
            existing_rows: self.target.existing_rows,
            accepted: self.misfits.accept.clone(),
            sequences: self.sequences.clone(),
            citext_schema: None,
        }
    }
}

impl Target {
    /// The first line of `password_file`, where one is set.
    pub fn password(&self) -> Result<Option<String>, Problem> {
        let Some(file) = &self.password_file else { return Ok(None) };
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(Some(text.lines().next().unwrap_or_default().to_owned())),
            Err(error) => {
                let text = format!("cannot be read: {error}");
                Err(Problem::new("target.password_file", text, &file.display().to_string()))
            }
        }
    }

    fn read(from: &mut Reader) -> Target {
        Target {
            url: from.take("target.url", optional(text_not_empty)),
            password_file: from.take("target.password_file", optional(file_path)),
            schema: from.take("target.schema", text_not_empty),
            mode: from.take("target.mode", optional(choice(&MODES))).unwrap_or(Mode::Create),
            tls: from.take("target.tls", optional(choice(&TLS))),
            ca_file: from.take("target.ca_file", optional(file_path)),
            unguarded_password: from.take("target.unguarded_password", choice(&UNGUARDED_PASSWORDS)),
            existing_rows: from.take("target.existing_rows", choice(&EXISTING_ROWS)),
            names: from.take("target.names", choice(&LETTERS)),
        }
    }
}

impl Source {
    fn read(from: &mut Reader) -> Source {
        Source {
            path: from.take("source.path", optional(file_path)),
            busy_timeout_ms: from.take("source.busy_timeout_ms", number(0..=60_000)),
            journal: from.take("source.journal", optional(choice(&JOURNALS))).unwrap_or(Journal::RequireWal),
            log_retention: from.take("source.log_retention", duration),
            log_limit: from.take("source.log_limit", number(1_000..=1_000_000_000_000)),
        }
    }
}

impl Types {
    fn read(from: &mut Reader) -> Types {
        Types {
            json: from.take("types.json", choice(&JSON_CHOICES)),
            numeric: from.take("types.numeric", choice(&NUMERIC_CHOICES)),
            int_width: from.take("types.int_width", choice(&INT_WIDTHS)),
            source_tz: from.take("types.source_tz", spelled::<Zone>),
            unit: from.take("types.units", optional(spelled::<Unit>)),
            column: columns(from),
        }
    }
}

impl Backfill {
    fn read(from: &mut Reader) -> Backfill {
        Backfill {
            workers: from.take("backfill.workers", number(1..=64)),
            chunk_bytes: from.take("backfill.chunk_bytes", number(65_536..=67_108_864)),
            max_read_ms: from.take("backfill.max_read_ms", number(10..=1_000)),
        }
    }
}

impl Http {
    fn read(from: &mut Reader) -> Http {
        let listen = from.take("http.listen", |value| listener(value).map(Some));
        let token_file = from.take("http.token_file", optional(file_path));
        let allowed_hosts = from.take("http.allowed_hosts", host_names);
        let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        if !listen.ip().is_loopback() && token_file.is_none() {
            let text = "must name a file, for http.listen is beyond loopback";
            from.problem("http.token_file", text, &format!("http.listen is {listen}"));
        }
        Http { listen, token_file: token_file.unwrap_or_default(), allowed_hosts }
    }
}

impl Problem {
    pub fn new(key: impl Into<String>, text: impl Into<String>, origin: &str) -> Problem {
        Problem { key: key.into(), text: text.into(), origin: origin.to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.text)?;
        if self.origin.is_empty() { Ok(()) } else { write!(out, " ({})", self.origin) }
    }
}

/// A URL may carry its password; debug output must not.
impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Target")
            .field("url", &self.url.as_deref().map(without_password))
            .field("schema", &self.schema)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Follow {
    fn read(from: &mut Reader) -> Follow {
        Follow {
            poll_ms: from.take("follow.poll_ms", number(10..=10_000)),
            max_batch: from.take("follow.max_batch", number(100..=10_000_000)),
        }
    }
}

/// In the state's directory, where no other file is named.
const TOKEN_FILE: &str = "token";

const JOURNALS: [(&str, Journal); 2] = [("require-wal", Journal::RequireWal), ("any", Journal::Any)];

const MODES: [(&str, Mode); 2] = [("create", Mode::Create), ("existing", Mode::Existing)];

const TLS: [(&str, Tls); 4] = [
    ("disable", Tls::Disable),
    ("require", Tls::VerifyFull),
    ("verify-ca", Tls::VerifyCa),
    ("verify-full", Tls::VerifyFull),
];

const UNGUARDED_PASSWORDS: [(&str, UnguardedPassword); 2] =
    [("refuse", UnguardedPassword::Refuse), ("allow", UnguardedPassword::Allow)];

const EXISTING_ROWS: [(&str, ExistingRows); 3] =
    [("refuse", ExistingRows::Refuse), ("replace", ExistingRows::Replace), ("merge", ExistingRows::Merge)];

const LETTERS: [(&str, Letters); 2] =
    [(Letters::Keep.word(), Letters::Keep), (Letters::Lower.word(), Letters::Lower)];

const JSON_CHOICES: [(&str, JsonChoice); 3] =
    [("json", JsonChoice::Json), ("jsonb", JsonChoice::Jsonb), ("text", JsonChoice::Text)];

const NUMERIC_CHOICES: [(&str, NumericChoice); 2] =
    [("numeric", NumericChoice::Numeric), ("float8", NumericChoice::Float8)];

const INT_WIDTHS: [(&str, IntWidth); 2] = [("bigint", IntWidth::Bigint), ("declared", IntWidth::Declared)];

const MISFIT_POLICIES: [(&str, MisfitPolicy); 3] =
    [("ledger", MisfitPolicy::Ledger), ("widen", MisfitPolicy::Widen), ("halt", MisfitPolicy::Halt)];

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

fn without_secret(entry: Effective) -> Effective {
    let callback = entry.key.starts_with("hooks.") && entry.value.starts_with("http");
    let value =
        if entry.key == "target.url" || callback { without_password(&entry.value) } else { entry.value };
    Effective { value, ..entry }
}

/// Shows less rather than too much: what is not understood as a URL is not shown at all.
fn without_password(target: &str) -> String {
    if target.is_empty() || target == "embedded" {
        return target.to_owned();
    }
    let Ok(mut url) = url::Url::parse(target) else { return "(hidden)".to_owned() };
    if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
        return "(hidden)".to_owned();
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(key, _)| key.contains("password")) {
        let kept = pairs.iter().filter(|(key, _)| !key.contains("password"));
        url.query_pairs_mut().clear().extend_pairs(kept).append_pair("password", "hidden");
    }
    url.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn load(file: &str, env: &[(&str, &str)], sets: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("liteferry.toml");
        std::fs::write(&path, file).unwrap();
        Settings::load(Some(&path), pairs(env).into_iter(), &pairs(sets))
    }

    fn problem_keys(result: Result<Settings, Vec<Problem>>) -> Vec<String> {
        result.map(|_| ()).unwrap_err().into_iter().map(|problem| problem.key).collect()
    }

    fn shown(settings: &Settings, key: &str) -> (String, String) {
        let entry = settings.effective().iter().find(|entry| entry.key == key).unwrap();
        (entry.value.clone(), entry.origin.clone())
    }

    #[test]
    fn the_defaults_are_complete_and_hold_no_unknown_key() {
        let settings = Settings::load(None, std::iter::empty(), &[]).unwrap();
        let overrides = settings.overrides();
        assert_eq!(settings.target.mode, Mode::Create);
        assert!(overrides.includes("any table"));
        assert!(settings.effective().iter().all(|entry| entry.origin == "default"));
    }

    #[test]
    fn a_variable_of_one_underscore_is_named_and_not_passed_over() {
        let env = [("LITEFERRY_TARGET__URL", "postgres://h/d"), ("LITEFERRY_HTTP_LISTEN", "x")];
        assert_eq!(problem_keys(load("", &env, &[])), ["target", "http"]);
        // What others may set: a hook's moment, a test's seed.
        assert!(load("", &[("LITEFERRY_MOMENT", "after_switch"), ("LITEFERRY_SEED", "1")], &[]).is_ok());
    }

    /// One bad value for each key; a new key without a line here fails the count.
    #[test]
    fn every_key_refuses_a_bad_value_by_its_name() {
        let cases = [
            ("source.path", "5"),
            ("source.busy_timeout_ms", "60001"),
            ("source.journal", "'delete'"),
            ("source.log_retention", "'1 fortnight'"),
            ("source.log_limit", "1"),
            ("target.url", "true"),
            ("target.password_file", "1"),
            ("target.schema", "''"),
            ("target.mode", "'both'"),
            ("target.tls", "'prefer'"),
            ("target.ca_file", "[]"),
            ("target.unguarded_password", "'md5'"),
            ("target.existing_rows", "'keep'"),
            ("target.names", "'upper'"),
            ("tables.include", "5"),
            ("tables.exclude", "['']"),
            ("tables.no_foreign_key", "['']"),
            ("types.json", "'jsonb2'"),
            ("types.numeric", "'float4'"),
            ("types.int_width", "''"),
            ("types.source_tz", "'Europe/Nowhere'"),
            ("types.units", "'fortnight'"),
            ("misfits.policy", "'drop'"),
            ("misfits.accept", "['not-text']"),
            ("misfits.widen_rows_max", "0"),
            ("backfill.workers", "0"),
            ("backfill.chunk_bytes", "1.5"),
            ("backfill.max_read_ms", "-1"),
            ("follow.poll_ms", "0"),
            ("follow.max_batch", "'all'"),
            ("validate.rows_listed_max", "'many'"),
            ("validate.on", "'often'"),
            ("validate.every", "'0h'"),
            ("validate.pair_max_ms", "1"),
            ("switch.pause_budget_ms", "0"),
            ("switch.deadline_ms", "49"),
            ("switch.max_lag_ms", "60001"),
            ("switch.validation_max_age", "'soon'"),
            ("switch.busy_timeout_ms", "-1"),
            ("switch.broken_keys", "'keep'"),
            ("hooks.before_switch", "'ftp://host'"),
            ("hooks.after_switch", "1"),
            ("hooks.before_rollback", "['a']"),
            ("hooks.after_rollback", "'http://'"),
            ("hooks.timeout_ms", "99"),
            ("cleanup.archive", "5"),
            ("http.listen", "'8475'"),
            ("http.token_file", "7"),
            ("http.allowed_hosts", "['http://ops.example']"),
            ("log.format", "'xml'"),
            ("log.level", "'loud'"),
            ("state.dir", "''"),
        ];
        for (key, bad) in cases {
            let (section, name) = key.split_once('.').unwrap();
            let keys = problem_keys(load(&format!("[{section}]\n{name} = {bad}"), &[], &[]));
            assert_eq!(keys, [key], "{key} = {bad}");
        }
        let defaults = Settings::load(None, std::iter::empty(), &[]).unwrap();
        let tested: Vec<&str> = cases.iter().map(|(key, _)| *key).collect();
        assert_eq!(defaults.effective().iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), tested);
    }

    #[test]
    fn named_sections_refuse_bad_values_by_name() {
        for (file, expected) in [
            ("[types.column.\"t.c\"]\ntype = ''\ntz = 'Nowhere'", "types.column.\"t.c\".tz"),
            ("[types.column.\"t.c\"]\nform = 'no-such-form'", "types.column.\"t.c\".form"),
            ("[types.column.\"t.c\"]\ntype = 5", "types.column.\"t.c\".type"),
            ("[types.column.\"t.c\"]\ncolour = 'red'", "types.column.\"t.c\".colour"),
            ("[types.column.c]\ntype = 'int'", "types.column.\"c\""),
            ("[types.column]\nc = 5", "types.column.\"c\""),
            ("[types]\ncolumn = 5", "types.column"),
            ("[sequences]\nq = -1", "sequences.\"q\""),
            ("sequences = 1", "sequences"),
            ("[nowhere]\nkey = 1", "nowhere"),
            ("nowhere = 1", "nowhere"),
            ("[log]\ncolour = true", "log.colour"),
            ("this is no toml", "--config"),
        ] {
            assert_eq!(problem_keys(load(file, &[], &[])), [expected], "{file}");
        }
    }

    #[test]
    fn a_listener_beyond_loopback_wants_a_token() {
        for (listen, good) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.1.2.3:8475", false),
            ("[::ffff:127.0.0.1]:1", false),
        ] {
            let bare = load("", &[], &[("http.listen", listen)]);
            assert_eq!(bare.is_ok(), good, "{listen}");
            if !good {
                assert_eq!(problem_keys(bare), ["http.token_file"], "{listen}");
            }
            let both = load("[http]\ntoken_file = 'token'", &[], &[("http.listen", listen)]).unwrap();
            assert_eq!(both.http.listen.to_string(), listen);
        }
    }

    #[test]
    fn a_pause_is_never_allowed_to_outlast_the_deadline() {
        let budget = |budget: &str, deadline: &str| {
            load("", &[], &[("switch.pause_budget_ms", budget), ("switch.deadline_ms", deadline)])
        };
        assert_eq!(budget("1000", "1000").unwrap().switch.pause_budget_ms, 1000);
        assert_eq!(problem_keys(budget("1001", "1000")), ["switch.pause_budget_ms"]);
        assert_eq!(problem_keys(budget("1001", "30001")), ["switch.deadline_ms"]);
    }

    #[test]
    fn the_token_is_among_the_state_where_no_file_is_named() {
        let named = |file: &str| load(file, &[], &[("state.dir", "/var/lib/x")]).unwrap().http.token_file;
        assert_eq!(named(""), Path::new("/var/lib/x/token"));
        assert_eq!(named("[http]\ntoken_file = '/run/t'"), Path::new("/run/t"));
    }

    #[test]
    fn allowed_hosts_are_names_and_nothing_wider() {
        let hosts = |given: &str| {
            load("", &[], &[("http.allowed_hosts", given)]).map(|settings| settings.http.allowed_hosts)
        };
        assert_eq!(
            hosts("Ops.Example, 10.0.0.7:443,[fd00::1]:80").unwrap(),
            ["ops.example", "10.0.0.7:443", "[fd00::1]:80"]
        );
        for bad in [
            "*",
            "*.example",
            "a/b",
            "user@host",
            "a:b",
            "a:",
            "a:0x50",
            ":80",
            "a b",
            "fd00::1",
            "a:99999",
            "[::1",
            "[]",
        ] {
            assert_eq!(
                problem_keys(load("", &[], &[("http.allowed_hosts", bad)])),
                ["http.allowed_hosts"],
                "{bad}"
            );
        }
    }

    #[test]
    fn a_section_that_does_not_exist_is_told_with_where_it_stands() {
        let told = load("", &[("LITEFERRY__NONSENSE__X", "1")], &[]).unwrap_err();
        let told: Vec<_> =
            told.iter().map(|problem| (problem.key.as_str(), problem.origin.as_str())).collect();
        assert_eq!(told, [("nonsense", "environment LITEFERRY__NONSENSE__X")]);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let file = "[backfill]\nworkers = 0\nspeed = 9\n[log]\nlevel = 'loud'";
        let env =
            [("LITEFERRY__TARGET__MODE", "both"), ("LITEFERRY__SEQUENCES__Q", "5"), ("LITEFERRY__", "")];
        let mut keys = problem_keys(load(file, &env, &[("no key", "1"), ("state.dir", "")]));
        keys.sort();
        let expected = [
            "",
            "backfill.speed",
            "backfill.workers",
            "log.level",
            "no key",
            "sequences.q",
            "state.dir",
            "target.mode",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn columns_of_an_existing_target_are_never_made_wider() {
        let widen = ("misfits.policy", "widen");
        assert_eq!(load("", &[], &[widen]).unwrap().misfits.policy, MisfitPolicy::Widen);
        assert_eq!(problem_keys(load("", &[], &[widen, ("target.mode", "existing")])), ["misfits.policy"]);
    }

    #[test]
    fn later_layers_win_and_each_value_knows_its_origin() {
        let file = "[backfill]\nworkers = 2\nchunk_bytes = 65536\nmax_read_ms = 20";
        let env = [
            ("LITEFERRY__BACKFILL__WORKERS", "3"),
            ("LITEFERRY__BACKFILL__CHUNK_BYTES", "70000"),
            ("LITEFERRY_OTHER", "not ours"),
        ];
        let settings = load(file, &env, &[("backfill.workers", "5")]).unwrap();
        let backfill = &settings.backfill;
        assert_eq!((backfill.workers, backfill.chunk_bytes, backfill.max_read_ms), (5, 70_000, 20));
        assert_eq!(shown(&settings, "backfill.workers"), ("5".into(), "command line".into()));
        let variable = "environment LITEFERRY__BACKFILL__CHUNK_BYTES";
        assert_eq!(shown(&settings, "backfill.chunk_bytes"), ("70000".into(), variable.into()));
        assert!(shown(&settings, "backfill.max_read_ms").1.ends_with("liteferry.toml"));
        assert_eq!(shown(&settings, "log.level"), ("info".into(), "default".into()));
    }

    #[test]
    fn names_with_dots_and_quotes_reach_the_plan() {
        let file = "[types.column.\"a.b.c\"]\ntype = 'text'\n[sequences]\n\"Q.x\" = 7";
        let set = [("types.column.\"T x.C\".type", "date"), ("tables.include", "a, b_*")];
        let overrides = load(file, &[], &set).unwrap().overrides();
        assert_eq!(overrides.column("a.b", "c").unwrap().type_sql.as_deref(), Some("text"));
        assert_eq!(overrides.column("T x", "C").unwrap().type_sql.as_deref(), Some("date"));
        assert_eq!(overrides.sequences["Q.x"], SequenceStart::At(7));
        assert!(overrides.includes("b_1") && !overrides.includes("c"));
        let file = "[sequences]\nq = ['a.x', 'b.c.y']";
        let after =
            |columns: &[&str]| SequenceStart::After(columns.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(load(file, &[], &[]).unwrap().overrides().sequences["q"], after(&["a.x", "b.c.y"]));
        assert_eq!(
            load("", &[], &[("sequences.q", "a.x, b.y")]).unwrap().overrides().sequences["q"],
            after(&["a.x", "b.y"])
        );
        for bad in ["'x'", "[]", "'a.x, y'", "'.x'", "'a.'", "true"] {
            assert!(load(&format!("[sequences]\nq = {bad}"), &[], &[]).is_err(), "{bad}");
        }
        let overrides = load("", &[], &[("tables.exclude", "[\"T, x\", 'c']")]).unwrap().overrides();
        assert_eq!(overrides.exclude, ["T, x", "c"]);
        assert!(load("", &[], &[("tables.exclude", "[\"c\"")]).is_err());
    }

    #[test]
    fn a_command_line_key_is_one_key() {
        for key in ["", "a", "log", "log.level = 'x'\nlog.format", "log.", "x]", "log.level #"] {
            assert!(load("", &[], &[(key, "text")]).is_err(), "{key:?}");
        }
    }

    #[test]
    fn passwords_are_shown_nowhere() {
        for url in [
            "postgres://me:s3cret@host/db",
            "postgres://host/db?user=me&password=s3cret",
            "host=h password=s3cret",
            "postgres://me:s3c@ret@host/db",
        ] {
            let settings = load("", &[("LITEFERRY__TARGET__URL", url)], &[]).unwrap();
            let all = format!("{settings:?} {:?}", settings.effective());
            assert_eq!(settings.target.url.as_deref(), Some(url));
            assert!(!all.contains("s3c"), "{all}");
        }
        let hook =
            load("", &[], &[("hooks.after_switch", "http://me:s3cret@host/x?password=s3cret")]).unwrap();
        assert!(!format!("{hook:?} {:?}", hook.effective()).contains("s3cret"));
        let broken = load("[target]\nurl = \"postgres://me:s3cret@host", &[], &[]).unwrap_err();
        assert!(!format!("{broken:?}").contains("s3cret"), "{broken:?}");
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret \nsecond line\n").unwrap();
        let set = |path: &Path| [("target.password_file".to_owned(), path.display().to_string())];
        let target = Settings::load(None, std::iter::empty(), &set(&file)).unwrap().target;
        assert_eq!(target.password().unwrap().as_deref(), Some("s3cret "));
        let absent =
            Settings::load(None, std::iter::empty(), &set(&dir.path().join("absent"))).unwrap().target;
        assert_eq!(absent.password().unwrap_err().key, "target.password_file");
    }
}
