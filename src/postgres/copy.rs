//! Binary COPY into a table, and one row out of a query. It looks at no value: tuples come and go in canonical form.

use super::fault;
use crate::model::fault::Fault;
use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use std::pin::pin;
use tokio_postgres::{Client, ToStatement};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &[0xff, 0xff];
const PIECE_BYTES: usize = 64 * 1024;

/// Sends tuples by a `copy … from stdin (format binary)` and gives the number of rows that the server took.
pub async fn copy_in(
    client: &Client,
    copy: &(impl ToStatement + ?Sized),
    tuples: &[u8],
    doing: &str,
) -> Result<u64, Fault> {
    let sink = client.copy_in::<_, Bytes>(copy).await.map_err(|error| fault::of(error, doing))?;
    let mut sink = pin!(sink);
    for part in [HEADER, tuples, TRAILER] {
        for piece in part.chunks(PIECE_BYTES) {
            sink.send(Bytes::copy_from_slice(piece)).await.map_err(|error| fault::of(error, doing))?;
        }
    }
    sink.finish().await.map_err(|error| fault::of(error, doing))
}

/// The one tuple that a `copy (…) to stdout (format binary)` gives.
pub async fn copy_one_out(client: &Client, sql: &str, doing: &str) -> Result<Vec<u8>, Fault> {
    let stream = client.copy_out(sql).await.map_err(|error| fault::of(error, doing))?;
    let mut stream = pin!(stream);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.try_next().await.map_err(|error| fault::of(error, doing))? {
        bytes.extend_from_slice(&piece);
    }
    let tuple = bytes.strip_prefix(HEADER).and_then(|bytes| bytes.strip_suffix(TRAILER));
    tuple.map(<[u8]>::to_vec).ok_or_else(|| Fault::fatal("canon_broken", doing))
}
