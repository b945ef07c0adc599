//! The protocol of switch and rollback: from a world, every step that could come next. The daemon's order of things stands here as
//! the program keeps to it, and beside it each planted mistake.
//!
//! ```text
//!  switch    intent, guards on ─▶ fence ─▶ drain ─▶ PostgreSQL prepared, left open ─▶ SQLite commits (decided) ─▶ PostgreSQL commits
//!  rollback  intent ─▶ tables held ─▶ drain back ─▶ PostgreSQL commits (decided) ─▶ SQLite opened
//!  restart   take over ─▶ read the record ─▶ a switch begun: look at SQLite under its lock ─▶ finish, or abandon
//!                                         ─▶ a rollback begun: abandon        ─▶ SQLite behind a decided rollback: open it
//! ```

use crate::bug::Bug;
use crate::world::{At, Batch, Daemon, Guard, Open, Who, World};
use liteferry::phase::Phase;
use liteferry::phase::machine::{Command, Crossing, Event, State, ask, transition};

/// Whose doing a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Application,
    Operator,
    Daemon,
    Fault,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub kind: Kind,
    pub who: Option<Who>,
    pub what: &'static str,
    pub to: World,
}

/// What bounds the world; everything else in it is finite by itself.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub writes: u32,
    /// How often the writes go over.
    pub crossings: u8,
}

pub fn steps(world: &World, bounds: Bounds, bug: Option<Bug>) -> Vec<Step> {
    let mut found = Vec::new();
    application(world, bounds, &mut found);
    server(world, bug, &mut found);
    for who in Who::BOTH {
        let mut turn = Turn { world, who, bug, found: &mut found };
        match *world.clone().daemon(who) {
            Daemon::Down => turn.start(),
            Daemon::Up(at, knows) => {
                turn.step(Kind::Fault, "crashes", |world| world.leave(who));
                turn.go_on(at, knows, bounds);
            }
        }
    }
    found
}

/// A writer that ignores the routing: it tries both sides at any time.
fn application(world: &World, bounds: Bounds, found: &mut Vec<Step>) {
    if world.acknowledged.count_ones() == bounds.writes {
        return;
    }
    let mut push = |what, change: fn(&mut World)| {
        let mut to = world.clone();
        change(&mut to);
        found.push(Step { kind: Kind::Application, who: None, what, to });
    };
    if !world.sqlite.guarded && world.sqlite.lock.is_none() {
        push("writes to SQLite", |world| world.sqlite.rows |= world.acknowledge());
    }
    if world.postgres.guard == Guard::Off && world.postgres.open.is_none() {
        push("writes to PostgreSQL", |world| world.postgres.rows |= world.acknowledge());
    }
}

fn server(world: &World, bug: Option<Bug>, found: &mut Vec<Step>) {
    let Some(open) = world.postgres.open else { return };
    let mut push = |kind, what, change: &dyn Fn(&mut World)| {
        let mut to = world.clone();
        change(&mut to);
        found.push(Step { kind, who: None, what, to });
    };
    if open.sent {
        let guard = match open.crossing {
            Crossing::Rollback if bug != Some(Bug::LeavesPostgresOpen) => Guard::On,
            Crossing::Switch | Crossing::Rollback => Guard::Off,
        };
        // Unless something is wrong, whoever sent it had the record compared, and nobody has changed it since.
        if transition(world.postgres.state, Event::Decided(open.crossing)).is_ok() {
            push(Kind::Daemon, "PostgreSQL commits", &|world| world.postgres.land(guard));
        }
    }
    if open.by.is_none() {
        push(Kind::Daemon, "PostgreSQL rolls back what nobody holds", &|world| world.postgres.open = None);
    } else {
        push(Kind::Fault, "PostgreSQL restarts", &|world| world.postgres.open = None);
    }
}

/// What one daemon may do next.
struct Turn<'a> {
    world: &'a World,
    who: Who,
    bug: Option<Bug>,
    found: &'a mut Vec<Step>,
}

impl Turn<'_> {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn step(&mut self, kind: Kind, what: &'static str, change: impl FnOnce(&mut World)) {
        let mut to = self.world.clone();
        change(&mut to);
        self.found.push(Step { kind, who: Some(self.who), what, to });
    }

    fn go_to(&mut self, what: &'static str, (at, knows): (At, State), change: impl FnOnce(&mut World)) {
        let who = self.who;
        self.step(Kind::Daemon, what, |world| {
            change(world);
            *world.daemon(who) = Daemon::Up(at, knows);
        });
    }

    /// A transaction of PostgreSQL that asks whether the migration is ours and stands where we know it to: it waits while another holds
    /// the record, and where the answer is no, the daemon leaves.
    fn compared(
        &mut self,
        what: &'static str,
        (knows, next): (State, (At, State)),
        change: impl FnOnce(&mut World),
    ) {
        if self.world.record_is_held(self.who) {
            return;
        }
        let postgres = &self.world.postgres;
        if postgres.owner == Some(self.who) && postgres.state == knows {
            return self.go_to(what, next, change);
        }
        let who = self.who;
        self.step(Kind::Daemon, "sees that the migration is not its own, and leaves", |world| {
            world.leave(who)
        });
    }

    fn start(&mut self) {
        if !self.world.record_is_held(self.who) {
            let who = self.who;
            let unknown = State::FIRST;
            self.go_to("starts and takes over", (At::Arrived, unknown), |world| {
                world.postgres.owner = Some(who);
            });
        }
    }

    fn go_on(&mut self, at: At, knows: State, bounds: Bounds) {
        match at {
            At::Arrived => self.read_the_record(),
            At::Idle => self.idle(knows, bounds),
            At::Forward(rows) => self.apply_forward(rows, (At::Idle, knows)),
            At::Backward(batch) => self.apply_backward(batch, (At::Idle, knows)),
            At::SwitchBegun | At::Fenced | At::Drained | At::Prepared | At::Decided => self.switch(at, knows),
            At::RollbackBegun | At::TablesHeld | At::LastBackward(_) | At::DrainedBack => {
                self.roll_back(at, knows);
            }
            At::Opening(epoch) => self.open(epoch, knows),
            At::Sent(crossing) => self.learn(crossing, knows),
            At::Abandoning(crossing) => self.abandon(crossing, knows),
            At::Resolving(_) | At::Resolved(_) | At::Finishing | At::FinishDrained => self.resolve(at, knows),
        }
    }

    fn read_the_record(&mut self) {
        let (state, epoch) = (self.world.postgres.state, self.world.postgres.epoch);
        let behind = self.world.sqlite.guarded && self.world.sqlite.epoch + 1 == epoch;
        let next = match (state.crossing, state.phase) {
            (Some(Crossing::Switch), _) if self.has(Bug::TakesABegunSwitchForAbandoned) => {
                At::Abandoning(Crossing::Switch)
            }
            (Some(Crossing::Switch), _) => At::Resolving(epoch),
            (Some(Crossing::Rollback), _) => At::Abandoning(Crossing::Rollback),
            (None, Phase::DualWrite | Phase::Validate) if behind && !self.has(Bug::ForgetsToOpen) => {
                At::Opening(self.world.sqlite.epoch)
            }
            (None, _) => At::Idle,
        };
        self.go_to("reads the record", (next, state), |_| ());
    }

    fn idle(&mut self, knows: State, bounds: Bounds) {
        let (sqlite, postgres) = (&self.world.sqlite, &self.world.postgres);
        if sqlite.rows != postgres.rows {
            let batch = Batch { rows: postgres.rows, mark: sqlite.mark, epoch: postgres.epoch };
            let at =
                if knows.phase == Phase::Switch { At::Backward(batch) } else { At::Forward(sqlite.rows) };
            self.go_to("reads a batch", (at, knows), |_| ());
        }
        for command in [Command::Validate, Command::Switch, Command::Rollback] {
            let Ok(after) = ask(knows, command, None) else { continue };
            let crosses = after.crossing.is_some() && postgres.epoch < bounds.crossings;
            // From before the switch a rollback moves no writes.
            let validates = command == Command::Validate && after != knows;
            if crosses || validates {
                self.command(knows, after);
            }
        }
    }

    fn command(&mut self, knows: State, after: State) {
        let at = match after.crossing {
            None => At::Idle,
            Some(Crossing::Switch) => At::SwitchBegun,
            Some(Crossing::Rollback) => At::RollbackBegun,
        };
        // The guards want the tables.
        if at == At::SwitchBegun && self.world.postgres.open.is_some() {
            return;
        }
        let before = self.found.len();
        self.compared("records the command", (knows, (at, after)), |world| {
            world.postgres.state = after;
            if after.crossing == Some(Crossing::Switch) {
                world.postgres.guard = Guard::On;
            }
        });
        for step in &mut self.found[before..] {
            step.kind = Kind::Operator;
        }
    }

    fn apply_forward(&mut self, rows: u8, next: (At, State)) {
        if self.world.postgres.open.is_some() {
            return;
        }
        if self.world.postgres.owner == Some(self.who) || self.has(Bug::FollowsWithoutOwner) {
            return self.go_to("applies", next, |world| world.postgres.rows = rows);
        }
        let who = self.who;
        self.step(Kind::Daemon, "sees that the migration is not its own, and leaves", |world| {
            world.leave(who)
        });
    }

    fn apply_backward(&mut self, batch: Batch, next: (At, State)) {
        if self.world.sqlite.lock.is_some() {
            return;
        }
        let sqlite = &self.world.sqlite;
        let same = sqlite.mark == batch.mark || self.has(Bug::WritesBackWithoutComparing);
        let closed = sqlite.guarded || self.has(Bug::WritesBackIntoAnOpenSide);
        let crossing = sqlite.epoch == batch.epoch || self.has(Bug::WritesBackAcrossCrossings);
        if same && closed && crossing {
            return self.go_to("writes back", next, |world| {
                world.sqlite.rows = batch.rows;
                world.sqlite.mark = world.sqlite.mark.wrapping_add(1);
            });
        }
        let who = self.who;
        self.step(Kind::Daemon, "sees that SQLite has gone on, and leaves", |world| world.leave(who));
    }

    fn switch(&mut self, at: At, knows: State) {
        let who = self.who;
        if at != At::Decided {
            self.give_up(Crossing::Switch, knows);
        }
        match at {
            At::SwitchBegun if self.world.sqlite.lock.is_none() => {
                self.go_to("fences SQLite", (At::Fenced, knows), |world| world.sqlite.lock = Some(who));
            }
            At::Fenced if self.has(Bug::DrainsBeforeTheFence) => {
                self.go_to("does not drain", (At::Drained, knows), |_| ());
            }
            // Nobody is asked whose the migration is where there is nothing to write.
            At::Fenced if self.world.sqlite.rows == self.world.postgres.rows => {
                self.go_to("finds nothing to drain", (At::Drained, knows), |_| ());
            }
            At::Fenced => self.apply_forward(self.world.sqlite.rows, (At::Drained, knows)),
            At::Drained => self.prepare((knows, At::Prepared)),
            At::Prepared if self.has(Bug::CommitsPostgresFirst) => self.send((knows, Crossing::Switch)),
            At::Prepared => self.go_to("commits SQLite", (At::Decided, knows), close_sqlite),
            At::Decided if self.world.holds_tables(who) => self.send((knows, Crossing::Switch)),
            At::Decided => self.go_to("has lost its transaction", (At::Finishing, knows), |_| ()),
            _ => {}
        }
    }

    fn prepare(&mut self, (knows, next): (State, At)) {
        if self.world.postgres.open.is_some() {
            return;
        }
        let who = self.who;
        let open = |world: &mut World| {
            world.postgres.open = Some(Open { claimed: true, ..opened(who, Crossing::Switch) });
        };
        if self.has(Bug::PreparesWithoutComparing) {
            self.go_to("prepares PostgreSQL", (next, knows), open);
        } else {
            self.compared("prepares PostgreSQL", (knows, (next, knows)), open);
        }
    }

    fn send(&mut self, (knows, crossing): (State, Crossing)) {
        self.go_to("sends the commit", (At::Sent(crossing), knows), |world| {
            let open = world.postgres.open.as_mut();
            if let Some(open) = open {
                (open.claimed, open.sent) = (true, true);
            }
        });
    }

    fn roll_back(&mut self, at: At, knows: State) {
        let who = self.who;
        self.give_up(Crossing::Rollback, knows);
        let (sqlite, postgres) = (&self.world.sqlite, &self.world.postgres);
        let batch = Batch { rows: postgres.rows, mark: sqlite.mark, epoch: postgres.epoch };
        match at {
            At::RollbackBegun if self.has(Bug::DrainsBackBeforeTheTablesAreHeld) => {
                self.go_to("reads the last batch", (At::LastBackward(batch), knows), |_| ());
            }
            At::RollbackBegun if postgres.open.is_none() => {
                self.go_to("holds the tables", (At::TablesHeld, knows), |world| {
                    world.postgres.open = Some(opened(who, Crossing::Rollback));
                });
            }
            At::TablesHeld if sqlite.rows == postgres.rows => {
                self.go_to("finds nothing to write back", (At::DrainedBack, knows), |_| ());
            }
            At::TablesHeld => self.go_to("reads the last batch", (At::LastBackward(batch), knows), |_| ()),
            At::LastBackward(batch) => self.apply_backward(batch, (At::DrainedBack, knows)),
            At::DrainedBack if self.has(Bug::DrainsBackBeforeTheTablesAreHeld) && postgres.open.is_none() => {
                self.go_to("holds the tables", (At::DrainedBack, knows), |world| {
                    world.postgres.open = Some(opened(who, Crossing::Rollback));
                });
            }
            At::DrainedBack
                if self.has(Bug::OpensBeforeTheDecision) && sqlite.guarded && sqlite.lock.is_none() =>
            {
                self.go_to("opens SQLite", (At::DrainedBack, knows), open_sqlite);
            }
            At::DrainedBack if self.world.holds_tables(who) => {
                let sent = (At::Sent(Crossing::Rollback), knows);
                self.compared("sends the commit", (knows, sent), |world| {
                    let open = world.postgres.open.as_mut().expect("it holds the tables");
                    (open.claimed, open.sent) = (true, true);
                });
            }
            _ => {}
        }
    }

    /// What became of a commit that was sent: read once nobody holds the record.
    fn learn(&mut self, crossing: Crossing, knows: State) {
        if self.world.postgres.open.is_some_and(|open| open.claimed) {
            return;
        }
        let decided = transition(knows, Event::Decided(crossing)).expect("it was begun");
        let closed_by = self.world.postgres.epoch.checked_sub(1);
        let (opened, lost) = match crossing {
            Crossing::Switch => (At::Idle, At::Finishing),
            Crossing::Rollback => (At::Opening(closed_by.unwrap_or_default()), At::Abandoning(crossing)),
        };
        let unfinished = self.has(Bug::CommitsPostgresFirst) && !self.world.sqlite.guarded;
        if self.world.postgres.state == decided && unfinished {
            self.go_to("commits SQLite", (At::Idle, decided), close_sqlite);
        } else if self.world.postgres.state == decided {
            self.compared("sees its commit", (decided, (opened, decided)), |_| ());
        } else {
            self.compared("sees that its commit is lost", (knows, (lost, knows)), |_| ());
        }
    }

    fn open(&mut self, closed_by: u8, knows: State) {
        if self.world.sqlite.lock.is_some() {
            return;
        }
        let who = self.who;
        let same = self.world.sqlite.epoch == closed_by && self.world.sqlite.guarded;
        if same || self.has(Bug::OpensWithoutComparing) {
            self.go_to("opens SQLite", (At::Idle, knows), open_sqlite);
        } else {
            self.step(Kind::Daemon, "sees that SQLite has gone on, and leaves", |world| world.leave(who));
        }
    }

    /// Any failure or a missed deadline, before the decision.
    fn give_up(&mut self, crossing: Crossing, knows: State) {
        let (who, keeps) = (self.who, self.has(Bug::KeepsTheFence));
        self.go_to("gives up", (At::Abandoning(crossing), knows), |world| {
            let lock = world.sqlite.lock;
            world.let_go(who);
            if keeps {
                world.sqlite.lock = lock;
            }
        });
    }

    fn abandon(&mut self, crossing: Crossing, knows: State) {
        let after = transition(knows, Event::Abandoned(crossing)).expect("it was begun");
        let (who, keeps) = (self.who, self.has(Bug::KeepsTheFence));
        self.compared("records that nothing happened", (knows, (At::Idle, after)), |world| {
            world.postgres.state = after;
            if !keeps {
                world.let_go(who);
            }
        });
    }

    fn resolve(&mut self, at: At, knows: State) {
        let (who, sqlite) = (self.who, &self.world.sqlite);
        match at {
            At::Resolving(epoch) if self.has(Bug::LooksPastTheLock) => {
                self.go_to("looks at SQLite", (At::Resolved(epoch), knows), |_| ());
            }
            At::Resolving(epoch) if sqlite.lock.is_none() => {
                self.go_to("locks SQLite and looks", (At::Resolved(epoch), knows), |world| {
                    world.sqlite.lock = Some(who);
                });
            }
            At::Resolved(epoch) if sqlite.guarded && sqlite.epoch == epoch + 1 => {
                self.go_to("finds it decided", (At::Finishing, knows), |world| world.let_go(who));
            }
            At::Resolved(_) => self.abandon(Crossing::Switch, knows),
            At::Finishing if self.world.postgres.open.is_none() => {
                let rows = sqlite.rows;
                self.compared("drains", (knows, (At::FinishDrained, knows)), |world| {
                    world.postgres.rows = rows;
                });
            }
            At::FinishDrained if self.world.postgres.open.is_none() => self.prepare((knows, At::Decided)),
            _ => {}
        }
    }
}

fn opened(who: Who, crossing: Crossing) -> Open {
    Open { by: Some(who), crossing, claimed: false, sent: false }
}

/// The one commit that decides a switch.
fn close_sqlite(world: &mut World) {
    world.sqlite.guarded = true;
    world.sqlite.epoch += 1;
    world.sqlite.lock = None;
}

fn open_sqlite(world: &mut World) {
    world.sqlite.guarded = false;
    world.sqlite.epoch += 1;
}
