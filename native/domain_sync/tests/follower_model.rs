//! Whatever happens to a follower, in any order: I12 and I13 hold, and nobody waits for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_sync::check::Reason;
use domain_sync::follower::{
    Answer, Applied, CheckEnd, Command, Event, FIRST_RETRY, Failure, Follower, Input, Timer,
};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::time::Duration;

const MAX_RETRY: Duration = Duration::from_secs(20);

/// What happens. What cannot happen at its turn is left out.
#[derive(Debug, Clone)]
enum Op {
    Request,
    Ping,
    Verify,
    Batch,
    Applied(Applied),
    End(CheckEnd),
    Audit(Result<bool, Failure>),
    Timer(Timer),
    RestartWithoutEffect,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let failure = || Failure::new("timeout", "no answer");
    let frequent = [
        Op::Request,
        Op::Ping,
        Op::Batch,
        Op::Applied(Applied::Done),
        Op::End(CheckEnd::Current),
        Op::End(CheckEnd::Failed(failure())),
        Op::Timer(Timer::Check),
    ];
    let rare = [
        Op::Verify,
        Op::Applied(Applied::TableReplaced),
        Op::Applied(Applied::NoTable),
        Op::End(CheckEnd::Loaded),
        Op::End(CheckEnd::Reload(Reason::TooOld)),
        Op::End(CheckEnd::Differs(Vec::new())),
        Op::End(CheckEnd::TableReplaced),
        Op::End(CheckEnd::NoTable),
        Op::Audit(Ok(false)),
        Op::Audit(Ok(true)),
        Op::Audit(Err(failure())),
        Op::Timer(Timer::Audit),
        Op::RestartWithoutEffect,
    ];
    let op = prop_oneof![3 => select(frequent.to_vec()), 2 => select(rare.to_vec())];
    prop::collection::vec(op, 0..200)
}

struct Check {
    began: u32,
    /// Batches that it has made and nobody has begun to apply.
    batches: usize,
    is_applying: bool,
    end: Option<CheckEnd>,
}

/// A follower, and what the world around it sees.
struct World {
    follower: Follower<u32>,
    connections: u32,
    /// Counts what happens.
    now: u32,
    /// When a check was requested last.
    requested: u32,
    check: Option<Check>,
    /// When the check began that did what it could, last of all.
    done: u32,
    is_auditing: bool,
    is_reloading: bool,
    timers: BTreeMap<Timer, Duration>,
    /// The database has failed so often in a row.
    failures: u32,
    /// It failed last, and the pause is not over.
    is_pausing: bool,
    /// Who waits, and the newest request before that, if it is a ping.
    waiting: BTreeMap<u32, Option<u32>>,
}

impl World {
    fn new(connections: u32, seed: u64) -> Self {
        let (follower, commands) = Follower::start(Duration::from_secs(300), seed);
        let mut world = World {
            follower,
            connections,
            now: 0,
            requested: 0,
            check: None,
            done: 0,
            is_auditing: false,
            is_reloading: false,
            timers: BTreeMap::new(),
            failures: 0,
            is_pausing: false,
            waiting: BTreeMap::new(),
        };
        commands.into_iter().for_each(|command| world.carry_out(command));
        world.input(Input::DatabaseOpened { max_retry: MAX_RETRY, connections });
        world
    }

    fn input(&mut self, input: Input<u32>) {
        let commands = self.follower.handle(input);
        commands.into_iter().for_each(|command| self.carry_out(command));
        let busy = self.check.is_some() || self.is_reloading;
        assert!(busy || self.timers.contains_key(&Timer::Check), "nothing would ever happen again");
    }

    /// `false` if it cannot happen now.
    fn happens(&mut self, op: Op) -> bool {
        self.now += 1;
        let input = match op {
            Op::Request => {
                self.requested = self.now;
                Input::CheckRequested
            }
            Op::Ping => {
                self.waiting.insert(self.now, Some(self.requested));
                Input::Ping(self.now)
            }
            Op::Verify => {
                self.waiting.insert(self.now, None);
                Input::Verify(self.now)
            }
            Op::Batch => match &mut self.check {
                Some(check) if check.end.is_none() => {
                    check.batches += 1;
                    Input::BatchReady
                }
                _ => return false,
            },
            Op::Applied(applied) => match &mut self.check {
                Some(check) if check.is_applying => {
                    check.is_applying = false;
                    match applied {
                        Applied::Done => {}
                        Applied::TableReplaced => check.end = Some(CheckEnd::TableReplaced),
                        Applied::NoTable => check.end = Some(CheckEnd::NoTable),
                    }
                    Input::BatchApplied(applied)
                }
                _ => return false,
            },
            Op::End(end) => match &mut self.check {
                Some(check) if check.end.is_none() => {
                    check.end = Some(end.clone());
                    Input::CheckEnded(end)
                }
                _ => return false,
            },
            Op::Audit(end) if std::mem::take(&mut self.is_auditing) => Input::AuditEnded(end),
            Op::Timer(timer) if self.timers.remove(&timer).is_some() => {
                self.is_pausing &= timer != Timer::Check;
                Input::TimerFired(timer)
            }
            Op::RestartWithoutEffect if std::mem::take(&mut self.is_reloading) => {
                Input::RestartWithoutEffect
            }
            Op::Audit(_) | Op::Timer(_) | Op::RestartWithoutEffect => return false,
        };
        self.input(input);
        true
    }

    fn carry_out(&mut self, command: Command<u32>) {
        match command {
            Command::StartCheck => {
                assert!(self.check.is_none(), "two checks at a time");
                assert!(!self.is_pausing, "I13: an attempt before the pause is over");
                assert!(self.connections > 1 || !self.is_auditing, "a connection for two");
                let (began, batches, is_applying, end) = (self.now, 0, false, None);
                self.check = Some(Check { began, batches, is_applying, end });
            }
            Command::EndCheck => {
                let check = self.check.take().expect("no check");
                let end = check.end.expect("it had not ended");
                let given_up = matches!(end, CheckEnd::TableReplaced | CheckEnd::NoTable);
                assert!(given_up || check.batches == 0 && !check.is_applying, "batches are lost");
                match end {
                    CheckEnd::Current | CheckEnd::Reload(_) | CheckEnd::Differs(_) => {
                        (self.done, self.failures) = (check.began, 0);
                    }
                    CheckEnd::Failed(_) => self.is_pausing = true,
                    CheckEnd::Loaded | CheckEnd::TableReplaced | CheckEnd::NoTable => {}
                }
            }
            Command::ApplyBatch => {
                let check = self.check.as_mut().expect("no check");
                assert!(!std::mem::replace(&mut check.is_applying, true), "two at a time");
                check.batches = check.batches.checked_sub(1).expect("no batch");
            }
            Command::StartAudit => {
                assert!(!std::mem::replace(&mut self.is_auditing, true), "two audits at a time");
                assert!(!self.is_pausing, "I13: an audit while the database fails");
                assert!(self.connections > 1 || self.check.is_none(), "a connection for two");
            }
            Command::CancelAudit => self.is_auditing = false,
            Command::Answer(caller, answer) => {
                let fence = self.waiting.remove(&caller).expect("I12: a second answer");
                assert_eq!(fence.is_some(), answer == Answer::Pong);
                assert!(fence.is_none_or(|fence| self.done >= fence), "I12: too early");
            }
            Command::WakeAfter(timer, after) => {
                self.timers.insert(timer, after);
            }
            Command::Log(Event::CheckFailed(_, pause)) => {
                let longest = (FIRST_RETRY * (1 << self.failures.min(10))).min(MAX_RETRY);
                assert!(pause > longest / 2 && pause <= longest, "I13: a pause of {pause:?}");
                self.failures += 1;
            }
            Command::Reload => self.is_reloading = true,
            Command::Log(_) | Command::Count(_) | Command::FindMissingIndex => {}
        }
    }

    /// From now on all goes well.
    fn calm_down(&mut self) {
        for _ in 0..1_000 {
            let _ = self.happens(Op::Audit(Ok(false)))
                || self.happens(Op::Applied(Applied::Done))
                || self.happens(Op::End(CheckEnd::Current))
                || self.happens(Op::RestartWithoutEffect)
                || self.happens(Op::Timer(Timer::Check));
            if self.waiting.is_empty() {
                return;
            }
        }
        panic!("{:?} wait for ever", self.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn i12_and_i13_hold_and_nobody_waits_for_ever(
        ops in ops(),
        connections in 1..3_u32,
        seed: u64,
    ) {
        let mut world = World::new(connections, seed);
        for op in ops {
            world.happens(op);
        }
        world.calm_down();
    }
}
