//! PostgreSQL's server programs on this machine: where they are and of which version.
//!
//! It looks, and starts nothing but `postgres --version` and `pg_config --bindir`.

use super::connect::VERSION_MIN;
use crate::model::fault::Fault;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The directory that holds `postgres` and `initdb`.
    pub bin: PathBuf,
    pub major: u32,
}

/// Where packages put one directory a version: the parent, and how the directory's name begins.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql"),
    ("/usr/local/opt", "postgresql"),
];
const BUILT_FROM_SOURCE: &str = "/usr/local/pgsql/bin";
const INSTALL: &str = "Install the server: `apt-get install postgresql`, `dnf install postgresql-server` or \
                       `brew install postgresql`; or give the URL of a running one.";

/// The first installation in PATH, or the newest elsewhere; of the major version that a data directory was made by, where there is
/// one.
pub fn find(major: Option<u32>) -> Result<Installation, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).filter_map(look);
    let elsewhere = || directories().into_iter().filter_map(look);
    if let Some(chosen) = choose(major, in_path, elsewhere) {
        return Ok(chosen);
    }
    let fault = match major {
        Some(major) => Fault::fatal("postgres_missing", format!("find the programs of PostgreSQL {major}"))
            .with_remedy(format!(
                "The private cluster was made by version {major}: install that version's server, or name another state.dir."
            )),
        None => Fault::fatal("postgres_missing", "find PostgreSQL's server programs").with_remedy(INSTALL),
    };
    Err(fault)
}

/// `elsewhere` is asked only where PATH has none that fits: each look starts a program.
fn choose<E: Iterator<Item = Installation>>(
    major: Option<u32>,
    mut in_path: impl Iterator<Item = Installation>,
    elsewhere: impl FnOnce() -> E,
) -> Option<Installation> {
    let fits = |installation: &Installation| {
        installation.major * 10_000 >= VERSION_MIN && major.is_none_or(|major| installation.major == major)
    };
    in_path.find(fits).or_else(|| elsewhere().filter(fits).max_by_key(|installation| installation.major))
}

/// Those beside PATH.
fn directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for (parent, prefix) in VERSIONED {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
        directories.extend(entries.flatten().filter(named).map(|entry| entry.path().join("bin")));
    }
    directories.push(PathBuf::from(BUILT_FROM_SOURCE));
    if let Ok(told) = Command::new("pg_config").arg("--bindir").output() {
        directories.push(PathBuf::from(String::from_utf8_lossy(&told.stdout).trim()));
    }
    directories
}

fn look(bin: PathBuf) -> Option<Installation> {
    if !bin.join("initdb").is_file() || !bin.join("postgres").is_file() {
        return None;
    }
    let told = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let major = major_of(&String::from_utf8_lossy(&told.stdout))?;
    Some(Installation { bin, major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`, `postgres (PostgreSQL) 19devel`.
fn major_of(version: &str) -> Option<u32> {
    let number =
        version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits = number.find(|next: char| !next.is_ascii_digit()).map_or(number, |end| &number[..end]);
    digits.parse().ok()
}

/// The major version that a data directory belongs to; `None` where there is none yet.
pub fn version_of_data(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_path_is_chosen_and_else_the_newest() {
        let made = |majors: &[u32]| -> Vec<Installation> {
            majors
                .iter()
                .map(|major| Installation { bin: format!("/{major}").into(), major: *major })
                .collect()
        };
        for (wanted, in_path, elsewhere, expected) in [
            (None, &[14, 16][..], &[18][..], Some(14)),
            (None, &[12, 16], &[18], Some(16)),
            (None, &[], &[13, 18, 15], Some(18)),
            (Some(15), &[14], &[13, 18, 15], Some(15)),
            (Some(12), &[12], &[12], None),
            (None, &[], &[], None),
        ] {
            let chosen = choose(wanted, made(in_path).into_iter(), || made(elsewhere).into_iter());
            assert_eq!(chosen.map(|chosen| chosen.major), expected, "{wanted:?} {in_path:?} {elsewhere:?}");
        }
    }

    #[test]
    fn versions_are_read_from_what_the_server_says() {
        for (text, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 19devel", Some(19)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("nothing", None),
        ] {
            assert_eq!(major_of(text), expected, "{text}");
        }
    }
}
