//! What a fault is that the application's own change of its schema has led to.

use crate::model::fault::{Fault, FaultClass};

/// A statement that no longer compiles, of ours or, with our triggers, of the application, is most likely of a schema that is no longer the same.
pub fn is_of_schema(fault: &Fault) -> bool {
    ["source_sql", "capture_refused"].contains(&fault.code)
}

/// What a fault becomes that the application's own change of its schema has led to.
pub fn schema_moved(fault: Fault) -> Fault {
    Fault::new(FaultClass::Transient, "source_schema_moved", fault.doing)
        .with_remedy("the application changed its schema: the daemon looks at it anew by itself")
}
