//! Whose daemon answers, before anybody is shown a token: digests of what it follows, and its answer to a challenge, which takes the
//! token to give. Whoever does not know the names and the token learns neither here.

use super::status::Status;
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Told to all who ask.
pub fn follows(status: &Status) -> Value {
    json!({
        "source": digest(&status.source.path.display().to_string()),
        "target": digest(&status.target.address),
        "schema": digest(&status.target.schema),
    })
}

pub fn digest(name: &str) -> String {
    hexadecimal(&Sha256::digest(name))
}

/// Random letters that a client has thrown itself: an answer that was heard before fits none of them.
pub struct Challenge(String);

/// The letters of a challenge.
pub const CHALLENGE_LETTERS: usize = 64;

impl Challenge {
    pub fn throw() -> Result<Challenge, getrandom::Error> {
        let mut random = [0; CHALLENGE_LETTERS / 2];
        getrandom::fill(&mut random)?;
        Ok(Challenge(hexadecimal(&random)))
    }

    /// Nothing where it is none: whatever else was answered might be of use elsewhere.
    pub fn read(text: &str) -> Option<Challenge> {
        let fits = text.len() == CHALLENGE_LETTERS && text.bytes().all(|letter| letter.is_ascii_hexdigit());
        fits.then(|| Challenge(text.to_owned()))
    }

    pub fn letters(&self) -> &str {
        &self.0
    }
}

/// One who holds a token, at the daemon or at a client.
pub struct Holder(hmac::Key);

impl Holder {
    pub fn of(token: &str) -> Holder {
        Holder(hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()))
    }

    /// `host` is whom the client means to ask. A daemon answers to its own names and port alone, so that somebody at another port cannot
    /// have it answer for him.
    pub fn proof(&self, host: &[u8], challenge: &Challenge) -> String {
        let words = [b"liteferry holds this token: ", host, b" ", challenge.letters().as_bytes()].concat();
        hexadecimal(hmac::sign(&self.0, &words).as_ref())
    }

    pub fn gives(&self, proof: &str, host: &[u8], challenge: &Challenge) -> bool {
        self.proof(host, challenge).as_bytes().ct_eq(proof.as_bytes()).into()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_token_one_host_and_one_challenge() {
        let (ours, other) = (Challenge::throw().unwrap(), Challenge::throw().unwrap());
        let holder = Holder::of("0123456789abcdef0123456789abcdef");
        let proof = holder.proof(b"127.0.0.1:8475", &ours);
        assert!(holder.gives(&proof, b"127.0.0.1:8475", &ours));
        assert!(!holder.gives(&proof, b"127.0.0.1:8476", &ours));
        assert!(!holder.gives(&proof, b"127.0.0.1:8475", &other));
        assert!(!Holder::of("x").gives(&proof, b"127.0.0.1:8475", &ours));
        for wrong in ["", "0", "é", "zz", &proof[2..], &proof[1..], &format!("{proof}00")] {
            assert!(!holder.gives(wrong, b"127.0.0.1:8475", &ours), "{wrong:?}");
        }
    }

    #[test]
    fn a_challenge_is_thrown_anew_and_read_as_it_was() {
        let thrown = Challenge::throw().unwrap();
        assert_ne!(thrown.letters(), Challenge::throw().unwrap().letters());
        assert_eq!(Challenge::read(thrown.letters()).unwrap().letters(), thrown.letters());
        let long = "0".repeat(CHALLENGE_LETTERS);
        for (text, fits) in
            [(&*long, true), (&long[1..], false), ("", false), (&long.replacen('0', "x", 1), false)]
        {
            assert_eq!(Challenge::read(text).is_some(), fits, "{text:?}");
        }
    }
}
