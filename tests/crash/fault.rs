//! What goes wrong, and how it is done to a running campaign. Each gives whether it took effect; none asserts what comes after.

use crate::campaign::{Campaign, Sessions};
use crate::proxy::Rule;
use crate::random::Random;
use std::thread::sleep;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of the daemon at any moment.
    Kill,
    /// SIGTERM; it must end well, and soon.
    Stop,
    /// PostgreSQL stopped as `pg_ctl stop -m immediate` does, and started at once.
    Crash,
    /// The same, and away for seconds.
    Away,
    /// `kill -9` of one of its backends: PostgreSQL restarts itself.
    KillBackend,
    EndSessions,
    CutAtByte,
    CutBeforeCommit,
    CutAfterCommit,
    /// SIGSTOP, a second daemon, SIGCONT.
    Freeze,
    /// The same, and the sessions of the first are ended: the second may have the migration.
    TakeOver,
    /// The same to a daemon whose commit has just been taken and not answered, and nothing but its claim is ended: it holds no lock, and
    /// wakes up to a session that works.
    Usurp,
    /// All links stand still for a moment.
    Stall,
    /// Links of now never carry a byte again, and nobody is told.
    HalfOpen,
    /// Links of now end for the daemon, and live on for the server.
    Orphan,
    KillWriter,
}

/// The last one takes half a minute: a short run goes without.
pub const ANY: [Fault; 16] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Crash,
    Fault::Away,
    Fault::KillBackend,
    Fault::EndSessions,
    Fault::CutAtByte,
    Fault::CutBeforeCommit,
    Fault::CutAfterCommit,
    Fault::Freeze,
    Fault::TakeOver,
    Fault::Usurp,
    Fault::Stall,
    Fault::Orphan,
    Fault::KillWriter,
    Fault::HalfOpen,
];

pub fn quick() -> &'static [Fault] {
    &ANY[..ANY.len() - 1]
}

/// What a backfill is hit by.
pub const EARLY: [Fault; 6] =
    [Fault::Kill, Fault::Kill, Fault::Stop, Fault::Crash, Fault::EndSessions, Fault::CutAtByte];

/// What the test knows of a fault that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Done,
    /// While a transaction of the daemon's had written and was open.
    MidTransaction,
    /// While a commit was sent and not answered.
    CommitInDoubt,
    /// What was waited for did not come in time.
    Missed,
}

/// Six times what work that does not end by itself is given: a stop that takes longer is one that a service manager turns into a kill.
const STOP_MAX: Duration = Duration::from_secs(24);
/// What a server may take to notice that its client's machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(4);
/// How long a rule may wait for its bytes.
const SPRING_MAX: Duration = Duration::from_secs(2);
/// An open transaction of the first is ended by the server after half a minute.
const SECOND_MAX: Duration = Duration::from_secs(300);
const ANOTHER_OWNER: i32 = 3;

impl Fault {
    pub fn strike(self, campaign: &mut Campaign<'_>, random: &mut Random) -> Effect {
        let bytes = u64::try_from(random.below(30_000)).expect("a small number");
        match self {
            Fault::Kill => {
                let effect = catch(campaign, random);
                campaign.daemon.kill();
                campaign.heal();
                campaign.start_daemon();
                effect
            }
            Fault::Stop => stop(campaign, random),
            Fault::Crash => crash(campaign, random, Duration::ZERO),
            Fault::Away => crash(campaign, random, Duration::from_millis(1_000 + bytes / 12)),
            Fault::KillBackend => kill_backend(campaign, random),
            Fault::EndSessions => {
                let effect = catch(campaign, random);
                let ended = campaign.end_sessions(Sessions::All);
                campaign.proxy.rule(Rule::Pass);
                if ended == 0 { Effect::Missed } else { effect }
            }
            Fault::CutAtByte => spring(campaign, Rule::CutAfter { bytes }),
            Fault::CutBeforeCommit => spring(campaign, Rule::CutBeforeCommit),
            Fault::CutAfterCommit => spring(campaign, Rule::CutAfterCommit),
            Fault::Freeze => {
                let effect = catch(campaign, random);
                second(campaign, effect, None)
            }
            Fault::TakeOver => {
                let effect = catch(campaign, random);
                second(campaign, effect, Some(Sessions::All))
            }
            Fault::Usurp => {
                let effect = hold(campaign, Rule::HoldAfterCommit);
                second(campaign, effect, Some(Sessions::Claim))
            }
            Fault::Stall => {
                let effect = catch(campaign, random);
                campaign.proxy.rule(Rule::HoldAll);
                sleep(Duration::from_millis(500 + bytes / 10));
                campaign.proxy.rule(Rule::Pass);
                effect
            }
            Fault::HalfOpen => {
                let effect = catch(campaign, random);
                campaign.proxy.hold_old();
                sleep(KEEPALIVE);
                campaign.proxy.end_held_for_server();
                effect
            }
            Fault::Orphan => {
                let effect = catch(campaign, random);
                campaign.proxy.orphan_old();
                sleep(KEEPALIVE + Duration::from_millis(bytes / 6));
                campaign.heal();
                effect
            }
            Fault::KillWriter => {
                campaign.replace_writer(random.below(2));
                Effect::Done
            }
        }
    }
}

/// Waits for a moment that is worth striking at, and holds the traffic there. Half of the time any moment will do.
fn catch(campaign: &mut Campaign<'_>, random: &mut Random) -> Effect {
    let bytes = u64::try_from(random.below(30_000)).expect("a small number");
    let rule = match random.below(6) {
        0 | 1 => Rule::HoldBeforeCommit,
        2 => Rule::HoldAfterCommit,
        3 => Rule::HoldAfter { bytes },
        _ => return campaign.open_writes(),
    };
    hold(campaign, rule)
}

fn hold(campaign: &mut Campaign<'_>, rule: Rule) -> Effect {
    let since = campaign.proxy.sprung();
    campaign.proxy.rule(rule);
    if !campaign.proxy.springs_within(since, SPRING_MAX) {
        campaign.proxy.rule(Rule::Pass);
        return Effect::Done;
    }
    match rule {
        Rule::HoldAfterCommit => Effect::CommitInDoubt,
        _ => campaign.open_writes(),
    }
}

fn kill_backend(campaign: &mut Campaign<'_>, random: &mut Random) -> Effect {
    let effect = catch(campaign, random);
    let pids = campaign.pids();
    if !pids.is_empty() {
        campaign.server.kill_backend(&pids[random.below(pids.len())]);
    }
    campaign.proxy.rule(Rule::Pass);
    if pids.is_empty() { Effect::Missed } else { effect }
}

fn stop(campaign: &mut Campaign<'_>, random: &mut Random) -> Effect {
    let effect = catch(campaign, random);
    campaign.daemon.signal("TERM");
    let code = campaign.daemon.ends_within(STOP_MAX);
    assert_eq!(code, Some(0), "asked to stop: {}", campaign.daemon.log.display());
    campaign.heal();
    campaign.start_daemon();
    effect
}

fn crash(campaign: &mut Campaign<'_>, random: &mut Random, away: Duration) -> Effect {
    let effect = catch(campaign, random);
    campaign.server.crash();
    campaign.proxy.rule(Rule::Pass);
    sleep(away);
    campaign.server.restart();
    effect
}

fn spring(campaign: &mut Campaign<'_>, rule: Rule) -> Effect {
    let since = campaign.proxy.sprung();
    campaign.proxy.rule(rule);
    let sprung = campaign.proxy.springs_within(since, SPRING_MAX);
    campaign.proxy.rule(Rule::Pass);
    match (sprung, rule) {
        (false, _) => Effect::Missed,
        (true, Rule::CutBeforeCommit) => Effect::MidTransaction,
        (true, Rule::CutAfterCommit) => Effect::CommitInDoubt,
        (true, _) => Effect::Done,
    }
}

/// The first sleeps meanwhile, and wakes up believing that all is as it was. Where its sessions live on, the position alone tells it.
fn second(campaign: &mut Campaign<'_>, effect: Effect, ended: Option<Sessions>) -> Effect {
    campaign.daemon.signal("STOP");
    campaign.proxy.rule(Rule::Pass);
    if let Some(sessions) = ended {
        campaign.end_sessions(sessions);
    }
    let mut second = campaign.another_daemon();
    let owns = campaign.owned_within(&mut second, SECOND_MAX);
    campaign.daemon.signal("CONT");
    if !owns {
        assert_eq!(second.ended(), Some(ANOTHER_OWNER), "the second: {}", second.log.display());
        assert!(ended.is_none(), "the second did not take over: {}", second.log.display());
        return effect;
    }
    let mut first = std::mem::replace(&mut campaign.daemon, second);
    let code = first.ends_within(SECOND_MAX);
    assert_eq!(code, Some(ANOTHER_OWNER), "the first after another took over: {}", first.log.display());
    effect
}
