//! Both databases, two daemons and the application, as small as the protocol of switch and rollback lets them be. What one transaction
//! does is one step; what a crash may come between is two. It knows no rule of the protocol.

use liteferry::phase::Phase;
use liteferry::phase::machine::{Crossing, Event, State, transition};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub sqlite: Sqlite,
    pub postgres: Postgres,
    pub daemons: [Daemon; 2],
    /// Every write that either side has acknowledged to the application.
    pub acknowledged: Rows,
}

/// A set of writes, one bit each.
pub type Rows = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sqlite {
    pub rows: Rows,
    /// How often the writes have gone over, as this side knows it.
    pub epoch: u8,
    pub guarded: bool,
    /// Moves with whatever is written back from PostgreSQL, and never comes twice.
    pub mark: u8,
    /// Who holds the write lock; it falls with the process.
    pub lock: Option<Who>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Postgres {
    pub rows: Rows,
    pub epoch: u8,
    pub guard: Guard,
    pub state: State,
    pub owner: Option<Who>,
    pub open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The application has never been told of this side.
    Absent,
    On,
    Off,
}

/// A transaction that holds the tables, so that writers and other changes of the guards wait. What it does shows when it lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Nobody once its client is gone and the server has not noticed.
    pub by: Option<Who>,
    pub crossing: Crossing,
    /// It has compared the record and holds it: whoever else wants the record waits.
    pub claimed: bool,
    /// The commit is on its way: it lands or is lost, whatever becomes of the client.
    pub sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    A,
    B,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Daemon {
    Down,
    /// Where it is, and the record as it knows it. Between two steps it may stand still for as long as it likes.
    Up(At, State),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// It has taken the migration over and knows nothing yet.
    Arrived,
    Idle,
    /// A batch is read and not applied.
    Forward(Rows),
    Backward(Batch),

    SwitchBegun,
    Fenced,
    Drained,
    Prepared,
    Decided,

    RollbackBegun,
    TablesHeld,
    LastBackward(Batch),
    DrainedBack,
    /// SQLite is opened if it is still closed by the crossing of this number.
    Opening(u8),

    Sent(Crossing),
    Abandoning(Crossing),
    /// A switch that another daemon began, or the same one before a crash.
    Resolving(Epoch),
    Resolved(Epoch),
    Finishing,
    FinishDrained,
}

/// PostgreSQL's, as it was read.
pub type Epoch = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub rows: Rows,
    /// SQLite's, before the rows were read.
    pub mark: u8,
    /// PostgreSQL's, in the snapshot that the rows were read in.
    pub epoch: Epoch,
}

impl World {
    /// The application writes to SQLite, and everything has been validated.
    pub fn first() -> World {
        let state = State { phase: Phase::Validate, ..State::FIRST };
        World {
            sqlite: Sqlite { rows: 0, epoch: 0, guarded: false, mark: 0, lock: None },
            postgres: Postgres { rows: 0, epoch: 0, guard: Guard::Absent, state, owner: None, open: None },
            daemons: [Daemon::Down; 2],
            acknowledged: 0,
        }
    }

    pub fn daemon(&mut self, who: Who) -> &mut Daemon {
        match who {
            Who::A => &mut self.daemons[0],
            Who::B => &mut self.daemons[1],
        }
    }

    /// The process ends: its lock falls; PostgreSQL has yet to notice.
    pub fn leave(&mut self, who: Who) {
        *self.daemon(who) = Daemon::Down;
        if self.sqlite.lock == Some(who) {
            self.sqlite.lock = None;
        }
        if let Some(open) = self.postgres.open.as_mut().filter(|open| open.by == Some(who)) {
            open.by = None;
        }
    }

    /// Lets go of lock and transaction as one who lives.
    pub fn let_go(&mut self, who: Who) {
        if self.sqlite.lock == Some(who) {
            self.sqlite.lock = None;
        }
        self.postgres.open = self.postgres.open.filter(|open| open.by != Some(who));
    }

    /// Another's transaction holds the record.
    pub fn record_is_held(&self, from: Who) -> bool {
        self.postgres.open.is_some_and(|open| open.claimed && open.by != Some(from))
    }

    pub fn holds_tables(&self, who: Who) -> bool {
        self.postgres.open.is_some_and(|open| open.by == Some(who))
    }

    pub fn acknowledge(&mut self) -> Rows {
        let write = self.acknowledged + 1;
        self.acknowledged |= write;
        write
    }
}

impl Postgres {
    /// The open transaction commits.
    pub fn land(&mut self, guard: Guard) {
        let open = self.open.take().expect("a transaction is open");
        self.state = transition(self.state, Event::Decided(open.crossing)).expect("the record was compared");
        self.guard = guard;
        self.epoch += 1;
    }
}

impl Who {
    pub const BOTH: [Who; 2] = [Who::A, Who::B];
}
