//! Bad input: a clear error with a stable code and a remedy, nothing half-done, nothing lost.

use crate::support::{
    Output, TempDb, TestDatabase, command, database, finished, liteferry, postgres_major, psql, sqlite,
};
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const TABLE: &str = "create table t (id integer primary key, v text); insert into t values (1, 'a')";

#[track_caller]
fn check(output: &Output, status: i32, code: &str) {
    let told = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.status, Some(status), "{told}");
    assert!(told.contains(&format!("[{code}]")), "wanted {code}: {told}");
    assert!(told.contains('→'), "no remedy: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

fn copy(source: &Path, target: &str) -> Output {
    liteferry(&["copy", "--source", &source.display().to_string(), "--target", target])
}

#[test]
fn a_source_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = database();
    let garbage = dir.path().join("garbage.db");
    std::fs::write(&garbage, [0xa5; 8192]).expect("written");
    check(&copy(&garbage, &target.url), 1, "source_not_sqlite");
    check(&copy(&dir.path().join("missing.db"), &target.url), 1, "source_missing");
    check(&copy(dir.path(), &target.url), 1, "source_not_a_file");
    assert_eq!(
        psql(&target.url, "select count(*) from pg_namespace where nspname = 'liteferry'")[0][0].as_deref(),
        Some("0")
    );
}

#[test]
fn a_source_without_a_table_is_told_as_the_mistake_that_it_mostly_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let mistyped = dir.path().join("ap.db");
    std::fs::write(&mistyped, "").expect("written");
    let unused = sqlite("pragma journal_mode = wal");
    for (source, said) in [(mistyped, "the file is empty (0 bytes)"), (unused.path.clone(), "has no table")] {
        let target = database();
        let at = source.display().to_string();
        check(&liteferry(&["check", "--source", &at, "--target", &target.url]), 0, "source_empty");
        let copied = copy(&source, &target.url);
        check(&copied, 0, "source_empty");
        assert!(copied.stdout.contains(said), "{copied:#?}");
    }
}

#[test]
fn a_truncated_source_is_refused() {
    const PAGE: usize = 4096;
    let file = sqlite(&format!(
        "{TABLE}; with recursive n(i) as (select 2 union all select i + 1 from n where i < 5000) insert into t select i, hex(randomblob(50)) from n"
    ));
    let whole = std::fs::read(&file.path).expect("read");
    let cut_at = |length: usize| whole[..length].to_vec();
    // A sector of a leaf in the middle that was never written: SQLite itself reads rows without content there.
    let mut lost = whole.clone();
    let leaf = (whole.len() / PAGE / 2..).find(|page| whole[page * PAGE] == 0x0d).expect("rows fill leaves");
    lost[(leaf + 1) * PAGE - PAGE / 2..(leaf + 1) * PAGE].fill(0);
    // SQLite takes the rest of a last page that is there in part for zeros.
    for damaged in [cut_at(whole.len() / 2), cut_at(whole.len() - PAGE / 2), lost] {
        std::fs::write(&file.path, damaged).expect("written");
        let target = database();
        check(&liteferry(&["check", "--source", &path(&file), "--target", &target.url]), 1, "source_corrupt");
        check(&copy(&file.path, &target.url), 1, "source_corrupt");
        assert_eq!(psql(&target.url, "select to_regclass('public.t')")[0][0], None);
    }
}

#[test]
fn what_only_run_is_refused_for_is_told_by_check() {
    let file = sqlite(&format!(
        "{TABLE}; create unique index u on t (coalesce(v, -id)); create table s (v any primary key) strict, without rowid; insert into s values (1), ('1')"
    ));
    let target = database();
    let source = path(&file);
    let told = |more: &[&str]| {
        let args = [&["check", "--source", &source, "--target", &target.url], more].concat();
        liteferry(&args).exits_with(0).stdout
    };
    let codes = |more: &[&str]| -> Vec<String> {
        let report: serde_json::Value =
            serde_json::from_str(&told(&[more, &["--json"]].concat())).expect("JSON");
        let blockers = report["blockers_of_run"].as_array().expect("a list");
        blockers.iter().map(|blocker| blocker["code"].as_str().expect("a code").to_owned()).collect()
    };
    let capture = ["capture_no_key", "capture_unique_expression_rowid"];
    assert_eq!(sorted(codes(&[])), [capture[0], capture[1], "source_journal_mode"]);
    assert_eq!(sorted(codes(&["--set", "source.journal=any"])), capture);
    let text = told(&[]);
    let (before, behind) = text.split_once("`liteferry run`").expect("it speaks of it");
    assert!(before.contains("ready") && !before.contains("capture_"), "{text}");
    assert!(behind.contains("3 blockers") && behind.contains("[capture_no_key] s:"), "{text}");
    let state = format!("state.dir={}", source.replace("source.db", "state"));
    let sets = ["--set", "http.listen=127.0.0.1:0", "--set", &state];
    let run = liteferry(&[&["run", "--source", &source, "--target", &target.url], &sets[..]].concat());
    check(&run, 1, "capture_no_key");
    copy(&file.path, &target.url).exits_with(0);
    let db = rusqlite::Connection::open(&file.path).expect("opened");
    db.execute_batch("drop index u; drop table s; pragma journal_mode = wal").expect("mended");
    assert!(codes(&["--set", "target.schema=other"]).is_empty());
}

#[test]
fn a_table_without_a_key_is_told_what_would_carry_it() {
    let file = sqlite(
        "pragma journal_mode = wal; create table k (a, b); insert into k values (1, 2), (1, 2); create table n (id integer primary key)",
    );
    let (source, target) = (path(&file), database());
    let checked = |more: &[&str]| {
        let args = [&["check", "--json", "--source", &source, "--target", &target.url], more].concat();
        liteferry(&args).exits_with(0).json()["blockers_of_run"].clone()
    };
    psql(&target.url, "create table k (a bigint, b bigint); create table n (id bigint)");
    let told = checked(&["--set", "target.mode=existing"]);
    assert_eq!(told[0]["code"], "capture_no_key", "{told:#}");
    let remedy = told[0]["remedy"].as_str().expect("a remedy is text");
    let column = "alter table \"public\".\"k\" add column \"_liteferry_rowid\" bigint generated by default as identity unique;";
    assert!(remedy.starts_with(column) && remedy.contains("tables.exclude"), "{remedy}");
    // What SQLite has already is told as the statement that gives it to the target too.
    let (statement, _) =
        told[1]["remedy"].as_str().expect("a remedy is text").split_once(';').expect("a statement");
    psql(&target.url, statement);
    let told = checked(&["--set", "target.mode=existing"]);
    assert_eq!((told.as_array().map(Vec::len), &told[0]["subject"]), (Some(1), &"k".into()), "{told:#}");
    // And `create` mode carries the other.
    assert_eq!(checked(&["--set", "target.schema=other"]), serde_json::json!([]));
}

fn sorted(mut codes: Vec<String>) -> Vec<String> {
    codes.sort();
    codes
}

#[test]
fn an_empty_database_is_equal_to_nothing() {
    let file = sqlite("");
    let target = database();
    let output = copy(&file.path, &target.url).exits_with(0);
    assert!(output.stdout.contains("verdict: equal"), "{}", output.stdout);
}

#[test]
fn a_source_locked_for_good_is_refused_in_time() {
    let file = sqlite(TABLE);
    let target = database();
    let blocker = rusqlite::Connection::open(&file.path).expect("opened");
    blocker.execute_batch("begin exclusive").expect("locked");
    let source = file.path.display().to_string();
    let output = liteferry(&[
        "copy",
        "--source",
        &source,
        "--target",
        &target.url,
        "--set",
        "source.busy_timeout_ms=100",
    ]);
    check(&output, 1, "source_busy");
}

#[test]
fn a_target_that_cannot_be_reached_is_refused() {
    let file = sqlite(TABLE);
    check(&copy(&file.path, "postgres://nobody@127.0.0.1:1/db"), 1, "postgres_unreachable");
    let target = database();
    let elsewhere = target.url.replace(&target.name, "no_such_database_here");
    check(&copy(&file.path, &elsewhere), 1, "no_such_database");
}

#[test]
fn a_target_in_another_encoding_is_refused() {
    let file = sqlite(TABLE);
    let target = database();
    psql(
        &target.url,
        &format!("create database {}_latin1 template template0 encoding 'LATIN1' locale 'C'", target.name),
    );
    let latin1 = target.url.replace(&target.name, &format!("{}_latin1", target.name));
    check(&copy(&file.path, &latin1), 1, "target_encoding");
}

#[test]
fn a_target_that_takes_no_writes_is_refused() {
    let file = sqlite(TABLE);
    let target = database();
    psql(&target.url, &format!("alter database {} set default_transaction_read_only = on", target.name));
    let output = copy(&file.path, &target.url);
    let told = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.status, Some(1), "{told}");
    assert!(told.contains("read_only"), "{told}");
}

#[test]
fn a_target_with_a_table_of_that_name_is_refused_and_left_alone() {
    let file = sqlite(TABLE);
    let target = database();
    psql(&target.url, "create table t (mine int); insert into t values (7)");
    check(&copy(&file.path, &target.url), 1, "target_not_empty");
    assert_eq!(psql(&target.url, "select mine from t")[0][0].as_deref(), Some("7"));
}

#[test]
fn a_table_too_wide_is_refused() {
    let columns: Vec<String> = (0..1601).map(|column| format!("c{column} int")).collect();
    let file = sqlite(&format!("create table wide ({})", columns.join(", ")));
    let target = database();
    check(&copy(&file.path, &target.url), 1, "too_many_columns");
}

#[test]
fn a_misfit_halts_where_the_settings_say_so() {
    let file = sqlite(
        "create table t (id integer primary key, v text); insert into t values (1, 'secret' || char(0)), (2, 'b'), (3, 'c')",
    );
    let target = database();
    let source = file.path.display().to_string();
    let output =
        liteferry(&["copy", "--source", &source, "--target", &target.url, "--set", "misfits.policy=halt"]);
    check(&output, 1, "misfit");
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
}

#[test]
fn settings_that_are_wrong_are_all_named() {
    let output = liteferry(&["copy", "--set", "backfill.workers=none", "--set", "target.moon=1"]);
    assert_eq!(output.status, Some(78), "{output:?}");
    assert!(
        output.stderr.contains("backfill.workers") && output.stderr.contains("target.moon"),
        "{}",
        output.stderr
    );
    assert_eq!(liteferry(&["frobnicate"]).status, Some(2));
}

#[test]
fn a_reader_who_has_gone_is_no_fault_and_a_full_output_is() {
    let columns: Vec<String> = (0..900).map(|column| format!("column_number_{column} text")).collect();
    let file = sqlite(&format!("create table wide ({})", columns.join(", ")));
    let source = path(&file);
    let target = database();
    let mut program = command(&["check", "--source", &source, "--target", &target.url]);
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut first = [0];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a letter");
    let output = finished(child.wait_with_output().expect("ended"));
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));

    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut program = command(&["check", "--source", &source, "--target", &target.url]);
    check(&finished(program.stdout(full).output().expect("started")), 1, "output_unwritable");

    // A pipe nobody reads, for the words of a refusal and of the log.
    let mut program =
        command(&["check", "--source", "/nowhere.db", "--target", "postgres://u@127.0.0.1:1/d"]);
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("ended").code(), Some(1));
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_work() {
    let file = sqlite(TABLE);
    let source = path(&file);
    let target = database();
    let copy =
        |report: &str| liteferry(&["copy", "--source", &source, "--target", &target.url, "--report", report]);
    check(&copy("/nowhere/report.json"), 1, "report_unwritable");
    check(&copy(&source.replace("source.db", "")), 1, "report_unwritable");
    assert!(untouched(&target));
    let report = source.replace("source.db", "report.json");
    copy(&report).exits_with(0);
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&report).expect("read")).expect("JSON");
    assert_eq!(told["success"], true);
}

#[test]
fn every_missing_privilege_is_named_with_its_grant() {
    let file = sqlite(TABLE);
    let source = path(&file);
    let target = database();
    let role = format!("weak_{}", target.name);
    // Before version 15 everybody may create in public.
    psql(&target.url, &format!("revoke create on schema public from public; create role {role} login"));
    let url = target.url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1);
    assert_ne!(url, target.url);
    let run = |command: &str, more: &[&str]| {
        liteferry(&[&[command, "--source", &source, "--target", &url], more].concat())
    };
    let schema = format!("grant usage, create on schema \"public\" to \"{role}\"");
    let whole = format!("grant create on database \"{}\" to \"{role}\"", target.name);
    for command in ["check", "copy"] {
        let output = run(command, &[]);
        check(&output, 1, "target_privilege");
        assert!(output.stdout.contains(&schema) && output.stdout.contains(&whole), "{output:?}");
        let output = run(command, &["--set", "target.schema=ferry"]);
        assert!(output.stdout.matches(&whole).count() == 2, "{output:?}");
    }
    assert!(untouched(&target));
    psql(&target.url, &format!("{schema}; {whole}"));
    run("check", &[]).exits_with(0);
    run("copy", &[]).exits_with(0);
    run("copy", &["--set", "target.schema=ferry"]).exits_with(0);
    psql(&target.url, &format!("alter role {role} connection limit 1"));
    check(&run("copy", &["--restart", "--yes"]), 1, "too_many_connections");
}

#[test]
fn a_target_without_an_encoding_and_a_pipe_for_a_source_are_refused() {
    let file = sqlite(TABLE);
    let source = path(&file);
    let target = database();
    let ascii = format!("{}_ascii", target.name);
    psql(&target.url, &format!("create database {ascii} template template0 encoding 'SQL_ASCII' locale 'C'"));
    let elsewhere = target.url.replace(&target.name, &ascii);
    check(&copy(&file.path, &elsewhere), 1, "target_encoding");
    let pipe = source.replace("source.db", "pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("started").success());
    check(&copy(Path::new(&pipe), &target.url), 1, "source_not_a_file");
    let link = source.replace("source.db", "link.db");
    std::os::unix::fs::symlink(&file.path, &link).expect("linked");
    copy(Path::new(&link), &target.url).exits_with(0);
    let again = copy(&file.path, &target.url).exits_with(0);
    assert!(again.stdout.contains("complete already"), "{again:?}");
}

#[test]
fn what_the_servers_version_cannot_hold_is_told_beforehand() {
    let column = |ty: &str| format!("[types.column.\"t.n\"]\ntype = \"{ty}\"\n");
    for (value, settings, since) in [
        ("9e999", String::new(), 14),
        ("-9e999", column("numeric"), 14),
        ("12300", column("numeric(5,-2)"), 15),
        ("0.00012", column("numeric(3,5)"), 15),
    ] {
        let file = sqlite(&format!(
            "create table t (id integer primary key, n numeric); insert into t values (1, {value})"
        ));
        let target = database();
        let config = file.path.with_extension("toml");
        fs::write(&config, &settings).expect("written");
        let config = config.display().to_string();
        let run = |command| {
            liteferry(&[command, "--config", &config, "--source", &path(&file), "--target", &target.url])
        };
        if postgres_major() < since {
            check(&run("check"), 1, "type_too_new");
            assert!(untouched(&target));
        } else {
            run("check").exits_with(0);
            run("copy").exits_with(0);
        }
    }
}

#[test]
fn settings_before_the_command_and_behind_it_all_hold() {
    let shown = liteferry(&[
        "--set",
        "log.level=debug",
        "config",
        "--set=http.listen=127.0.0.1:9",
        "show",
        "--set",
        "follow.poll_ms=50",
    ]);
    let shown = shown.exits_with(0).stdout;
    for line in ["log.level = debug", "http.listen = 127.0.0.1:9", "follow.poll_ms = 50"] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn an_address_that_is_none_is_a_setting_to_mend() {
    let file = sqlite(TABLE);
    let source = path(&file);
    for url in [
        "",
        "app",
        "mysql://u@h/d",
        "postgres://u@h:99999/d",
        "postgres://u@h/d?moon=1",
        "sqlite:///x",
        "postgres://u:%zz@h/d",
    ] {
        let output = liteferry(&["check", "--source", &source, "--target", url]);
        assert_eq!(output.status, Some(78), "{url}: {output:?}");
        assert!(output.stderr.contains("setting target.url"), "{url}: {output:?}");
    }
}

#[test]
fn a_password_among_the_arguments_is_refused_with_what_to_do_instead() {
    let file = sqlite(TABLE);
    let source = path(&file);
    let target = database();
    let with_password = target.url.replacen('@', ":mark@", 1);
    let pairs = "host=/nowhere user=u password=mark";
    let set = format!("target.url={with_password}");
    for arguments in [["--target", &with_password], ["--target", pairs], ["--set", &set]] {
        for words in [&["check"][..], &["run"], &["status"], &["config", "show"]] {
            let output = liteferry(&[words, &["--source", &source], &arguments].concat()).exits_with(78);
            assert!(output.stderr.contains("setting target.url: holds a password"), "{output:?}");
            let told = ["PGPASSWORD", "PGPASSFILE", "target.password_file", "LITEFERRY__TARGET__URL"];
            assert!(told.iter().all(|word| output.stderr.contains(word)), "{output:?}");
            assert!(!output.stderr.contains("mark") && output.stdout.is_empty(), "{output:?}");
        }
    }
    // A settings file is one that nobody else may read.
    let settings = file.path.with_file_name("settings.toml");
    fs::write(&settings, format!("[target]\nurl = \"{with_password}\"\n")).expect("written");
    let config = settings.display().to_string();
    for (mode, status) in [(0o644, 78), (0o640, 78), (0o604, 78), (0o600, 0)] {
        fs::set_permissions(&settings, PermissionsExt::from_mode(mode)).expect("set");
        let output = liteferry(&["check", "--config", &config, "--source", &source]).exits_with(status);
        assert!(status == 0 || output.stderr.contains("chmod 0600"), "{output:?}");
        assert!(!output.stderr.contains("mark"), "{output:?}");
    }
    // Nobody but the user reads the environment.
    let mut program = command(&["check", "--source", &source]);
    let output = program.env("LITEFERRY__TARGET__URL", &with_password).output().expect("started");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_name_that_would_move_the_cursor_is_shown_tame() {
    let file = sqlite(
        "create table \"a\u{1b}[2J\nb\" (id integer primary key, \"c\u{1b}]0;x\u{7}\" text); insert into \"a\u{1b}[2J\nb\" values (1, 'x')",
    );
    let source = path(&file);
    let target = database();
    for command in ["check", "copy", "validate"] {
        let output = liteferry(&[command, "--source", &source, "--target", &target.url]).exits_with(0);
        let odd = |letter: char| letter.is_control() && letter != '\n';
        assert!(!output.stdout.contains(odd) && !output.stderr.contains(odd), "{output:?}");
    }
}

fn untouched(target: &TestDatabase) -> bool {
    psql(&target.url, "select to_regnamespace('liteferry') is null")[0][0].as_deref() == Some("t")
}

fn path(file: &TempDb) -> String {
    file.path.display().to_string()
}

#[test]
fn a_name_that_an_index_or_a_view_would_bear_is_told_before_anything_begins() {
    let file = sqlite(
        "create table t (id integer primary key, v text unique); create index by_v on t (v); create view shown as select v from t;",
    );
    let target = database();
    psql(
        &target.url,
        "create table by_v (x int); create view shown as select 1 as v; create sequence t_v_key",
    );
    let source = file.path.display().to_string();
    for command in ["check", "copy"] {
        let told = liteferry(&[command, "--source", &source, "--target", &target.url]).exits_with(1).stdout;
        assert!(told.contains("the target already has t_v_key, by_v, shown\n"), "{told}");
    }
}

#[test]
fn indexes_of_a_table_that_is_in_the_way_itself_do_not_hide_its_name() {
    let file = sqlite(
        "create table t (id integer primary key, v text unique); create index by_v on t (v); create table free (v text unique);",
    );
    let target = database();
    psql(&target.url, "create table t (id int primary key, v text unique); create index by_v on t (v)");
    psql(&target.url, "create sequence free_v_key");
    let source = file.path.display().to_string();
    let told = liteferry(&["check", "--source", &source, "--target", &target.url]).exits_with(1).stdout;
    assert!(told.contains("the target already has t, free_v_key\n"), "{told}");
}
