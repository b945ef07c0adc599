//! Connection strings and what the environment adds to them: a target or an error, and no password in what is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::postgres::url::Target;

/// Put in place of `?PW?` in the input, so that it is found wherever it comes to stand.
const PASSWORD: &str = "Zq7xPassword";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let asked = first.replace("?PW?", PASSWORD);
    let given: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once('=')).collect();
    let env = |name: &str| {
        let found = given.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    match Target::parse(&asked, &env) {
        Ok(target) => {
            for host in &target.hosts {
                target.tls_for(host);
            }
            let shown = format!("{target} {target:?}");
            let told = first.matches("?PW?").count() == 1
                && target.password.as_ref().is_some_and(|password| password.expose() == PASSWORD);
            assert!(!told || !shown.contains(PASSWORD), "{shown}");
        }
        Err(error) => drop(error.to_string()),
    }
});
