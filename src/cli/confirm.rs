//! Asks a person before something is done. Where nobody can be asked, the answer is no.

use super::output::complain;
use super::print;
use crate::model::fault::Fault;
use std::io::IsTerminal;

pub async fn confirm(what: &str) -> Result<(), Fault> {
    let refused =
        || Fault::fatal("not_confirmed", what).with_remedy("give --yes where nobody is to be asked");
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    complain(&format!("{}? [y/N] ", print::shown(what)));
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    match read.await {
        Ok(Ok(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(refused()),
    }
}
