//! Orders that move the migration: what the machine and the gates say of them now is said at once, and what they allow is handed to the
//! daemon, which looks again before it acts. Nothing here acts by itself.

use super::error::Refusal;
use super::levers::{Fields, Given, order};
use super::readings::{aim, told};
use super::routes::{HttpState, as_json};
use crate::engine::order::{Order, Ordered};
use crate::engine::status::Status;
use crate::phase::Phase;
use crate::phase::machine::{Command, Percent};
use axum::extract::State;
use axum::response::Response;

/// Letters of a reason.
pub(super) const REASON_MAX: usize = 500;

pub async fn phase(State(state): State<HttpState>, mut given: Given) -> Result<Response, Refusal> {
    let fields = &mut given.fields;
    let (to, command) = aim(&fields.text("to")?.unwrap_or_default())?;
    let dry_run = fields.flag("dry_run")?.unwrap_or_default();
    let confirm = fields.text("confirm")?;
    if dry_run {
        let rest = Rest::read(given.fields)?;
        return Ok(as_json(&told(to, &state.view().outlook_from(command, rest.expect))));
    }
    confirmed(command, confirm.as_deref(), &state.view().status)?;
    give(&state, command, given)
}

pub async fn pause(State(state): State<HttpState>, given: Given) -> Result<Response, Refusal> {
    give(&state, Command::Pause, given)
}

pub async fn resume(State(state): State<HttpState>, given: Given) -> Result<Response, Refusal> {
    give(&state, Command::Resume, given)
}

pub async fn reads(State(state): State<HttpState>, mut given: Given) -> Result<Response, Refusal> {
    let percent = given.fields.number("percent")?.and_then(|percent| u8::try_from(percent).ok());
    let percent = percent.and_then(Percent::new);
    let percent = percent.ok_or_else(|| Refusal::bad_field("percent", "a whole number from 0 to 100"))?;
    give(&state, Command::Reads(percent), given)
}

/// What every such order may hold.
struct Rest {
    expect: Option<Phase>,
    reason: Option<String>,
}

impl Rest {
    /// These are the last fields.
    fn read(mut fields: Fields) -> Result<Rest, Refusal> {
        let phase = |word: String| {
            Phase::from_word(&word).ok_or_else(|| Refusal::bad_field("expect", "the name of a phase"))
        };
        let expect = fields.text("expect")?.map(phase).transpose()?;
        let reason = fields.text("reason")?;
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_MAX || reason.contains('\0'))
        {
            return Err(Refusal::bad_field("reason", "text of at most 500 letters"));
        }
        fields.end()?;
        Ok(Rest { expect, reason })
    }
}

fn give(state: &HttpState, command: Command, given: Given) -> Result<Response, Refusal> {
    let rest = Rest::read(given.fields)?;
    let outlook = state.view().outlook_from(command, rest.expect);
    if outlook.is_shut() {
        return Err(Refusal::Closed(Box::new(outlook)));
    }
    let ordered = Ordered::new(Order::Phase(command), given.actor, 0);
    order(state, Ordered { expect: rest.expect, reason: rest.reason, ..ordered }, "/v1/status")
}

/// What cannot be undone is done only for somebody who names what it is done to.
fn confirmed(command: Command, confirm: Option<&str>, status: &Status) -> Result<(), Refusal> {
    match command {
        Command::Cleanup => {
            let name = status.source.path.file_name().unwrap_or_default().to_string_lossy();
            if confirm == Some(&*name) { Ok(()) } else { Err(Refusal::NotConfirmed(name.into_owned())) }
        }
        Command::Validate
        | Command::Switch
        | Command::Rollback
        | Command::Pause
        | Command::Resume
        | Command::Reads(_) => Ok(()),
    }
}
