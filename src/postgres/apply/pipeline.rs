//! Statements sent one after the other without waiting for answers in between. It decides what each answer must be.

use crate::link::POSITION_MOVED;
use crate::model::fault::{Fault, FaultClass};
use crate::plan::route::Route;
use crate::postgres::load::rows_swallowed;
use bytes::{BufMut, BytesMut};
use futures_util::future::BoxFuture;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// What a statement of a batch does, and with that how many rows its answer must tell of.
#[derive(Clone, Debug)]
pub enum What {
    Begin,
    /// The compare-and-set of the position.
    Advance,
    ForgetEntries,
    Delete(Arc<Route>),
    InsertRow(Arc<Route>),
    WriteEntry,
    Commit,
    /// All of a batch.
    Single(Arc<Route>),
}

/// Statements that were sent, in their order, and their answers as far as they have come.
#[derive(Default)]
pub struct Pipeline {
    sent: Vec<(What, Answering, Poll<Answer>)>,
}

type Answer = Result<u64, tokio_postgres::Error>;

/// The driver sends a statement when this is polled for the first time.
pub type Answering = BoxFuture<'static, Answer>;

/// A cell's canonical bytes as a parameter, whatever its type: they are what the type's receive function takes.
pub struct Raw<'a>(pub Option<&'a [u8]>);

impl What {
    pub fn doing(&self) -> String {
        match self {
            What::Begin => "begin a batch".into(),
            What::Advance => "move the target's position on".into(),
            What::ForgetEntries | What::WriteEntry => "write the ledger".into(),
            What::Commit => "commit a batch".into(),
            What::Delete(route) => format!("delete changed rows of table {}", route.target),
            What::InsertRow(route) | What::Single(route) => {
                format!("write changed rows of table {}", route.target)
            }
        }
    }

    /// Whether the number of rows is one that the statement may touch.
    pub fn check(&self, rows: u64) -> Result<(), Fault> {
        match self {
            What::Begin | What::ForgetEntries | What::Delete(_) | What::Commit => Ok(()),
            What::Advance if rows == 1 => Ok(()),
            What::Advance => Err(Fault::new(FaultClass::Unknown, POSITION_MOVED, self.doing()).with_remedy(
                "The target does not stand where the batch begins; its position is read again.",
            )),
            What::InsertRow(_) | What::WriteEntry | What::Single(_) if rows == 1 => Ok(()),
            What::InsertRow(_) | What::WriteEntry | What::Single(_) => Err(rows_swallowed(self.doing())),
        }
    }
}

impl Pipeline {
    /// Sends a statement behind those before it, without a wait for any answer.
    pub async fn send(&mut self, what: What, mut answering: Answering) {
        let early = poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await;
        self.sent.push((what, answering, early));
    }

    /// Waits for the answers. The first that is not as it must be is the fault, which `of` makes of an error: those behind it only tell that
    /// the transaction has failed.
    pub async fn answers(
        self,
        of: impl Fn(tokio_postgres::Error, String) -> Fault + Send,
    ) -> Result<(), Fault> {
        for (what, answering, early) in self.sent {
            let answer = match early {
                Poll::Ready(answer) => answer,
                Poll::Pending => answering.await,
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
