//! Statements sent one after the other without waiting for answers in between. It decides what each answer must be.

use crate::model::fault::{Fault, FaultClass};
use crate::plan::route::Route;
use crate::postgres::load::rows_swallowed;
use bytes::{BufMut, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::task::Poll;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

pub const POSITION_MOVED: &str = "position_moved";

/// What a statement of a batch does, and with that how many rows its answer must tell of.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Begin,
    /// The compare-and-set of the position.
    Advance,
    ForgetEntries,
    Delete(&'a Route),
    InsertRow(&'a Route),
    WriteEntry,
}

/// Answers that are still to come, in the order in which their statements were sent.
#[derive(Default)]
pub struct Pipeline<'a> {
    sent: Vec<(What<'a>, BoxFuture<'a, Answer>)>,
}

type Answer = Result<u64, tokio_postgres::Error>;

/// A cell's canonical bytes as a parameter, whatever its type: they are what the type's receive function takes.
pub struct Raw<'a>(pub Option<&'a [u8]>);

impl What<'_> {
    pub fn doing(&self) -> String {
        match self {
            What::Begin => "begin a batch".into(),
            What::Advance => "move the target's position on".into(),
            What::ForgetEntries | What::WriteEntry => "write the ledger".into(),
            What::Delete(route) => format!("delete changed rows of table {}", route.target),
            What::InsertRow(route) => format!("write changed rows of table {}", route.target),
        }
    }

    /// Whether the number of rows is one that the statement may touch.
    pub fn check(&self, rows: u64) -> Result<(), Fault> {
        match self {
            What::Begin | What::ForgetEntries | What::Delete(_) => Ok(()),
            What::Advance if rows == 1 => Ok(()),
            What::Advance => Err(Fault::new(FaultClass::Unknown, POSITION_MOVED, self.doing()).with_remedy(
                "The target does not stand where the batch begins; its position is read again.",
            )),
            What::InsertRow(_) | What::WriteEntry if rows == 1 => Ok(()),
            What::InsertRow(_) | What::WriteEntry => Err(rows_swallowed(self.doing())),
        }
    }
}

impl<'a> Pipeline<'a> {
    pub fn add(&mut self, what: What<'a>, answer: impl Future<Output = Answer> + Send + 'a) {
        self.sent.push((what, answer.boxed()));
    }

    /// Sends all of it, and then waits for the answers. The first that is not as it must be is the fault, which `of` makes of an error:
    /// those behind it only tell that the transaction has failed.
    pub async fn run(
        mut self,
        of: impl Fn(tokio_postgres::Error, String) -> Fault + Send,
    ) -> Result<(), Fault> {
        let mut early = Vec::with_capacity(self.sent.len());
        // The driver sends a statement when its future is polled for the first time.
        for (_, answer) in &mut self.sent {
            early.push(poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await);
        }
        for ((what, answer), early) in self.sent.into_iter().zip(early) {
            let answer = match early {
                Poll::Ready(answer) => answer,
                Poll::Pending => answer.await,
            };
            what.check(answer.map_err(|error| of(error, what.doing()))?)?;
        }
        Ok(())
    }
}

impl ToSql for Raw<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(bytes) = self.0 else { return Ok(IsNull::Yes) };
        out.put_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Without the value: it must not be in any text.
impl fmt::Debug for Raw<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Raw({:?} bytes)", self.0.map(<[u8]>::len))
    }
}
