//! Holds what an operator installs to the program: the metrics that rules and dashboard name, the settings that the unit and the
//! compose file set, and, where they are installed, what promtool and systemd-analyze say. It writes to a directory of its own only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const METRICS: &str = "src/telemetry/metrics.rs";
const DASHBOARD: &str = "deploy/grafana/liteferry.json";
const RULES: &str = "deploy/prometheus/liteferry.rules.yml";
const PROMETHEUS: &str = "deploy/prometheus/prometheus.yml";
const RULE_TESTS: &str = "deploy/prometheus/liteferry.test.yml";
const UNIT: &str = "deploy/systemd/liteferry.service";
const OPERATE: &str = "docs/OPERATE.md";

/// Metrics that neither the dashboard nor a rule looks at, each with its reason.
const UNUSED: [(&str, &str); 0] = [];

/// What a tile that knows nothing is painted with: the colour below every value.
const NOTHING_KNOWN: &str = "#808080";

/// Of a row of Grafana's grid.
const COLUMNS: u64 = 24;

/// In tenths, as systemd-analyze takes it.
const EXPOSURE_MAX: &str = "15";

#[test]
fn every_metric_that_is_looked_at_exists() {
    let exist = metrics(&read(METRICS));
    let looked_at = [DASHBOARD, RULES, RULE_TESTS].map(read).concat();
    let unknown: Vec<_> = series(&looked_at).difference(&exist).cloned().collect();
    assert!(unknown.is_empty(), "no such metric: {unknown:?}");
}

#[test]
fn every_metric_is_looked_at_or_excused() {
    let exist = metrics(&read(METRICS));
    let mut seen = series(&[DASHBOARD, RULES].map(read).concat());
    seen.extend(UNUSED.map(|(name, _)| name.to_owned()));
    let unseen: Vec<_> = exist.difference(&seen).cloned().collect();
    assert!(unseen.is_empty(), "neither on the dashboard nor in a rule: {unseen:?}");
}

#[test]
fn every_metric_and_alert_is_explained_to_operators() {
    let paper = read(OPERATE);
    let mut names: Vec<String> = metrics(&read(METRICS)).into_iter().collect();
    names.extend(values(&read(RULES), "- alert: "));
    names.retain(|name| !paper.contains(&format!("`{name}")));
    assert!(names.is_empty(), "{OPERATE} does not explain {names:?}");
}

#[test]
fn every_code_that_operators_are_told_of_exists() {
    let (paper, faults) = (read(OPERATE), read("docs/FAULTS.md"));
    let halted =
        paper.split("\n## ").find(|section| section.starts_with("Halted")).expect("a section on halting");
    let named = halted.lines().filter_map(|row| row.strip_prefix("| `")?.split('|').next());
    let codes: Vec<&str> =
        named.flat_map(|cell| cell.split('`')).filter(|code| !code.trim().is_empty()).collect();
    assert!(codes.len() > 10, "the table of codes was not found");
    let unknown: Vec<_> = codes.iter().filter(|code| !faults.contains(&format!("\n| `{code}` |"))).collect();
    assert!(unknown.is_empty(), "{OPERATE} tells of {unknown:?}, which docs/FAULTS.md does not have");
}

#[test]
fn what_is_recorded_is_looked_at_and_what_is_looked_at_is_recorded() {
    let (rules, dashboard) = (read(RULES), read(DASHBOARD));
    let recorded: BTreeSet<String> = values(&rules, "- record: ").into_iter().collect();
    let used_by_rules =
        rules.lines().filter(|line| !line.contains("- record: ")).collect::<Vec<_>>().join("\n");
    let used = words_after(&(used_by_rules + &dashboard), "liteferry:");
    assert_eq!(recorded, used);
}

/// A tile over a range goes on to show, in green, what a daemon said before it died.
#[test]
fn a_tile_asks_for_the_present_and_a_dead_daemon_has_none_that_is_good() {
    let mut tiles = panels();
    tiles.retain(|panel| panel["type"] == "stat" || panel["type"] == "bargauge");
    assert!(tiles.len() > 9, "the tiles were not found");
    for panel in tiles {
        let targets = panel["targets"].as_array().expect("a tile has targets");
        let is_present = |target: &Value| target["instant"] == true && target["range"] == false;
        assert!(targets.iter().all(is_present), "{} shows the past", panel["title"]);
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(defaults["noValue"].is_string(), "{} has no word for nothing", panel["title"]);
        let lowest = &defaults["thresholds"]["steps"][0];
        assert!(
            lowest["value"].is_null() && lowest["color"] == NOTHING_KNOWN,
            "{}: {lowest} would colour what nobody knows",
            panel["title"]
        );
    }
}

#[test]
fn every_panel_has_a_number_and_a_place_of_its_own() {
    let (mut numbers, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        assert!(numbers.insert(panel["id"].as_u64()), "{}: its number is another's", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
        assert!(x + w <= COLUMNS, "{} sticks out", panel["title"]);
        let mut cells = (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line)));
        assert!(cells.all(|cell| taken.insert(cell)), "{} lies on another", panel["title"]);
    }
}

#[test]
fn every_setting_that_is_installed_exists() {
    let known = keys(&read("config/default.toml"));
    for path in ["docker-compose.yml", "deploy/systemd/liteferry.env", "deploy/systemd/README.md"] {
        for key in words_after(&read(path), "LITEFERRY__") {
            let key = key.trim_start_matches("LITEFERRY__").to_lowercase().replace("__", ".");
            assert!(key == "a.b" || known.contains(&key), "{path}: no such setting: {key}");
        }
    }
}

/// What the image is built from must not be kept from its build; the rest of the directory may be gigabytes.
#[test]
fn the_image_is_built_from_what_is_sent_and_nothing_else_is_sent() {
    let built = read("deploy/docker/Dockerfile");
    let copied =
        built.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    let sources = copied.flat_map(|line| line.rsplit_once(' ').expect("it goes somewhere").0.split(' '));
    let sent = read(".dockerignore");
    let sent: BTreeSet<&str> = sent.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(sources.collect::<BTreeSet<_>>(), sent);
}

/// podman's images have no health check of their own, and podman 4 breaks a list at the spaces within its words.
#[test]
fn every_health_check_survives_podman_and_the_image_has_one() {
    let (image, compose) = (read("deploy/docker/Dockerfile"), read("docker-compose.yml"));
    assert!(image.contains("HEALTHCHECK ") && image.contains("CMD [\"liteferry-healthy\"]"), "{image}");
    assert!(compose.contains("test: [CMD, liteferry-healthy]"), "it has no health check with podman");
    let tests: Vec<&str> = compose.split("test:").skip(1).map(|test| test.trim_start()).collect();
    assert!(tests.iter().all(|test| {
        let is_shell = test.starts_with("[CMD-SHELL,") || test.contains("- CMD-SHELL\n");
        is_shell || test.starts_with("[CMD, liteferry-healthy]")
    }));
}

/// Into an empty volume Docker copies what the image has at that path, its owner included; Prometheus' image has a directory there.
#[test]
fn the_volume_that_prometheus_is_given_is_not_empty() {
    let compose = read("docker-compose.yml");
    assert!(compose.contains("- prometheus:/prometheus\n"));
    assert!(
        compose.lines().any(|line| line.trim() == ": > /prometheus/.prepared"),
        "its owner would be lost"
    );
}

/// After a reboot in good order Docker starts no container again that is restarted on failure alone: it ended as it was asked to.
#[test]
fn every_service_comes_back_after_a_reboot() {
    let compose = read("docker-compose.yml");
    let services = compose.split("\nservices:\n").nth(1).and_then(|text| text.split("\nvolumes:\n").next());
    let services = services.expect("it has services");
    let named = services
        .lines()
        .filter(|line| line.len() > 3 && line.starts_with("  ") && !line[2..].starts_with([' ', '#']));
    let back = services.lines().filter(|line| *line == "    restart: unless-stopped");
    // One ends, and is to end: what prepares the others.
    assert_eq!(named.count(), back.count() + 1);
}

#[test]
fn docker_compose_reads_the_compose_file() {
    let file = path("docker-compose.yml");
    run("docker-compose", &["-f", &file, "config", "--quiet"]);
    // The second Compose is a plugin of Docker's client, which may be there without it.
    let version = Command::new("docker").args(["compose", "version"]).output();
    if version.is_ok_and(|said| said.status.success()) {
        run("docker", &["compose", "-f", &file, "config", "--quiet"]);
    }
}

#[test]
fn promtool_finds_rules_and_their_tests_good() {
    run("promtool", &["check", "rules", &path(RULES)]);
    run("promtool", &["check", "config", "--syntax-only", &path(PROMETHEUS)]);
    run("promtool", &["test", "rules", &path(RULE_TESTS)]);
}

/// The program is not installed where this runs: a copy of the unit starts another one.
#[test]
fn systemd_takes_the_unit_and_calls_it_safe() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let folder = dir.path().join("liteferry.service.d");
    fs::create_dir(&folder).expect("a directory can be made");
    let unit = read(UNIT).replace("/usr/local/bin/liteferry", "/bin/true");
    let copy = dir.path().join("liteferry.service");
    fs::write(&copy, unit).expect("a file can be written");
    fs::write(folder.join("database.conf"), read(&format!("{UNIT}.d/database.conf")))
        .expect("a file can be written");
    let copy = copy.display().to_string();
    run("systemd-analyze", &["verify", &copy]);
    run("systemd-analyze", &["security", "--offline=yes", &format!("--threshold={EXPOSURE_MAX}"), &copy]);
}

#[test]
fn names_are_found_where_they_stand() {
    let code = "x(\"liteferry_lag_seconds\", \"liteferry_lag\") y(\"liteferry_apply_rows\")\n#[cfg(test)] \"liteferry_not\"";
    let known = metrics(code);
    assert_eq!(known, set(&["liteferry_apply_rows", "liteferry_lag", "liteferry_lag_seconds"]));
    assert_eq!(
        series("rate(liteferry_apply_rows_bucket[5m]) > liteferry_lag{a=\"b\"} a: liteferry.yml"),
        set(&["liteferry_apply_rows", "liteferry_lag"])
    );
    assert_eq!(words_after("a liteferry:b:c + xliteferry:d", "liteferry:"), set(&["liteferry:b:c"]));
    assert_eq!(values("  - alert: A\n  - record: b\n", "- alert: "), ["A"]);
    assert_eq!(keys("[a]\n# c\nb = 1\n#   d = 2\n"), set(&["a.b"]));
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    dashboard["panels"].as_array().expect("it has panels").clone()
}

/// Of the code that ships: every string that looks like a metric's name.
fn metrics(code: &str) -> BTreeSet<String> {
    let shipped = code.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = shipped.split('"').skip(1).step_by(2);
    literals.filter(|text| text.starts_with("liteferry_")).map(str::to_owned).collect()
}

/// Metrics by the series that are named; a histogram stands for its three.
fn series(text: &str) -> BTreeSet<String> {
    let bare = |name: String| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        family.map(str::to_owned).unwrap_or(name)
    };
    words_after(text, "liteferry_").into_iter().map(bare).collect()
}

/// Whole words that begin with `prefix`.
fn words_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !inside(letter)).map(|word| word.trim_end_matches(':'));
    words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

fn values(text: &str, before: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim().strip_prefix(before)).map(str::to_owned).collect()
}

fn keys(toml: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in toml.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.insert(format!("{section}.{key}"));
        }
    }
    found
}

/// Skips, and says so, where the tool is not installed.
fn run(tool: &str, arguments: &[&str]) {
    let Ok(output) = Command::new(tool).args(arguments).output() else {
        println!("skipped, {tool} is not installed: {tool} {}", arguments.join(" "));
        return;
    };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {}\n{said}", arguments.join(" "));
    println!("passed: {tool} {}", arguments.join(" "));
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn path(name: &str) -> String {
    root().join(name).display().to_string()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
