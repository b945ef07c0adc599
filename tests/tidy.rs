//! Holds the tree to the house rules that a machine can check: layers, sizes, headers, names, and papers in step with the code.
//! Each rule is a pure function with its own proof that it can fail; here they are put to the files. It changes nothing.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/lex.rs"]
mod lex;
#[path = "tidy/papers.rs"]
mod papers;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_layer_uses_lower_layers_only() {
    let inside = |path: &str| path.trim_start_matches("src/").to_owned();
    report(shipped().iter().flat_map(|(path, source)| code::layers(&inside(path), source)).collect());
}

#[test]
fn every_file_says_what_it_is_for() {
    report(each(&["src", "tests", "benches"], code::header));
}

#[test]
fn files_and_functions_stay_small_enough_to_read() {
    let mut files = shipped();
    files.extend(sources(&["tests", "benches"]));
    report(files.iter().flat_map(|(path, source)| code::sizes(path, source)).collect());
}

#[test]
fn names_say_something() {
    report(each(&["src", "tests", "benches"], code::names));
}

#[test]
fn nothing_is_left_unfinished() {
    report(each(&["src", "tests", "benches"], code::unfinished));
}

#[test]
fn nothing_unwraps_outside_tests() {
    report(shipped().iter().flat_map(|(path, source)| code::unwraps(path, source)).collect());
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    let texts = files(&root())
        .into_iter()
        .filter_map(|path| Some((relative(&path), fs::read_to_string(&path).ok()?)));
    report(texts.flat_map(|(path, text)| papers::stray_words(&path, &text)).collect());
}

#[test]
fn every_planted_bug_finds_its_place() {
    let list = root().join("tests/mutants/mutants.py");
    let Ok(found) = std::process::Command::new("python3").arg(list).arg("--places").output() else {
        eprintln!("skipped: python3 is not here");
        return;
    };
    report(String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect());
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
}

#[test]
fn every_setting_is_documented_and_read() {
    let reads =
        ["src/settings.rs", "src/settings/switch.rs"].map(|path| lex::production(&read(path)).to_owned());
    report(papers::settings(&read("config/default.toml"), &reads.concat()));
}

#[test]
fn every_setting_that_is_advised_exists() {
    let toml = read("config/default.toml");
    report(each(&["src"], |path, source| papers::remedies(path, source, &toml)));
}

#[test]
fn every_finding_is_described() {
    let openers =
        ["Finding::note(", "Finding::warning(", "Finding::blocker(", ".drop_with(", "block(draft,", "block("];
    report(papers::codes(&shipped(), &openers, ("docs/FINDINGS.md", &read("docs/FINDINGS.md"))));
}

#[test]
fn every_fault_and_refusal_is_described() {
    let openers =
        ["Fault::fatal(", "Transient,", "Unknown,", "Data,", "Fatal,", "code: ", "Reason::new(", "told("];
    report(papers::codes(&shipped(), &openers, ("docs/FAULTS.md", &read("docs/FAULTS.md"))));
}

#[test]
fn every_reason_of_the_ledger_is_described() {
    let reasons: Vec<_> = shipped().into_iter().filter(|(path, _)| path == "src/canon/reason.rs").collect();
    report(papers::codes(&reasons, &["=> "], ("docs/LEDGER.md", &read("docs/LEDGER.md"))));
}

#[test]
fn the_code_map_shows_every_module() {
    let mut modules: Vec<String> = sources(&["src"])
        .iter()
        .filter_map(|(path, _)| {
            Some(path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs").to_owned())
        })
        .filter(|module| module != "lib" && module != "main")
        .collect();
    modules.dedup();
    report(papers::code_map(&modules, &read("ARCHITECTURE.md")));
}

#[test]
fn papers_are_short_and_their_links_lead_somewhere() {
    let mut complaints = papers::length("ARCHITECTURE.md", &read("ARCHITECTURE.md"), 250);
    complaints.extend(papers::length("README.md", &read("README.md"), 200));
    for path in
        files(&root()).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md"))
    {
        let text = fs::read_to_string(&path).expect("a listed file can be read");
        let folder = path.parent().expect("a file stands in a folder");
        let broken = papers::links(&text).into_iter().filter(|target| !folder.join(target).exists());
        complaints.extend(broken.map(|target| format!("{}: no such file: {target}", relative(&path))));
    }
    report(complaints);
}

fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn each(folders: &[&str], check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    sources(folders).iter().flat_map(|(path, source)| check(path, source)).collect()
}

/// Files of `src`, without those that are compiled for tests only.
fn shipped() -> Vec<(String, String)> {
    let all = sources(&["src"]);
    let tests: Vec<String> = all
        .iter()
        .flat_map(|(path, source)| {
            let folder = path.trim_end_matches("mod.rs").trim_end_matches(".rs").trim_end_matches('/');
            lex::test_modules(source).map(move |name| format!("{folder}/{name}.rs"))
        })
        .collect();
    all.into_iter().filter(|(path, _)| !tests.contains(path)).collect()
}

/// Rust files by their path from the root.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let paths = folders.iter().flat_map(|folder| files(&root().join(folder)));
    let rust = paths.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.map(|path| (relative(&path), fs::read_to_string(&path).expect("a listed file can be read")))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match (path.is_dir(), name.as_ref()) {
            // In a work tree of its own `.git` is a file, and names a place of the machine.
            (_, ".git") | (true, "target" | ".liteferry") => {}
            (true, _) => found.extend(files(&path)),
            (false, _) => found.push(path),
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("every path stands under the root").display().to_string()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
