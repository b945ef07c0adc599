//! A settings file of any bytes, and pairs of `--set`: settings or a list of problems.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::settings::Settings;

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = dir.path().join("liteferry.toml");
    std::fs::write(&path, data).expect("a temporary file can be written");
    check(Settings::load(Some(&path), std::iter::empty(), &[]));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let sets: Vec<(String, String)> = text.lines().filter_map(pair).collect();
    check(Settings::load(None, std::iter::empty(), &sets));
    let env = sets.into_iter().map(|(key, value)| (format!("LITEFERRY__{key}"), value));
    check(Settings::load(None, env, &[]));
});

fn check(loaded: Result<Settings, Vec<liteferry::settings::Problem>>) {
    match loaded {
        Ok(settings) => {
            settings.overrides();
            assert!(!settings.effective().is_empty());
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}
