//! Whose daemon answers: digests of what it follows, by which a client knows the daemon of its own settings before it shows anybody a
//! token. Whoever does not know the names learns none of them here.

use super::status::Status;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Told to all who ask.
pub fn follows(status: &Status) -> Value {
    json!({
        "source": digest(&status.source.path.display().to_string()),
        "target": digest(&status.target.address),
        "schema": digest(&status.target.schema),
    })
}

pub fn digest(name: &str) -> String {
    format!("{:x}", Sha256::digest(name))
}
